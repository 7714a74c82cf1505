"""Whether batches are padded is tried once, except in a duel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeClock

from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.targets.keras import batched

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.mark.parametrize(
    ("tries", "words"),
    [(True, "batches padded to powers of two"), (False, "batches sent as they are")],
)
def test_a_duel_does_not_try(*, tries: bool, words: str) -> None:
    """Padding that is much faster is chosen; in a duel both sides send batches as they are."""
    clock = FakeClock()

    def direct(batch: NDArray[Any]) -> object:
        clock.now += 1_000_000 if len(batch) & (len(batch) - 1) == 0 else 9_000_000
        return batch

    given = replace(plan([Options()]), tries_padding=tries)

    assert batched(direct, np.ones((64, 4), np.float32), given, clock)[1] == words
