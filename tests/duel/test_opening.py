"""The load before the slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import make_measurement

from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.duel.opening import measure_opening
from pytest_dlperf.results.row_evidence import Rows, RowScores

if TYPE_CHECKING:
    from pytest_dlperf.results.measurement import Measurement

ROWS = 1000


class Answering:
    """A target that answers so many distinct rows a second, one after the other."""

    def __init__(self, rate: float, *, by_users: bool = False) -> None:
        self.rate = rate
        self.by_users = by_users
        self.loads: list[float] = []

    def measure(self, test: str, name: str, seconds: float) -> Measurement:
        """Answer the first rows."""
        self.loads.append(seconds)
        answered = np.arange(ROWS) < self.rate * seconds
        if self.by_users:
            scores = RowScores("data", {"accuracy": np.where(answered, 1.0, np.nan)})
            return make_measurement(test=test, name=name, scores=scores)
        return make_measurement(test=test, name=name, rows=Rows("data", answered, answered))


@pytest.mark.parametrize("by_users", [False, True])
@pytest.mark.parametrize(
    ("rate", "loads"),
    [
        (5000.0, [0.3]),
        (1000.0, [0.3, 1.2]),
        (300.0, [0.3, 4.0]),
        (100.0, [0.3, 5.0]),
        (0.0, [0.3, 5.0]),
    ],
)
def test_the_load_lasts_until_all_rows_are_answered(
    rate: float,
    loads: list[float],
    by_users: bool,  # noqa: FBT001 - a case
) -> None:
    """Or as long as the plan allows."""
    target = Answering(rate, by_users=by_users)

    measure_opening(target, plan([Options(duration=5.0)]), "test", "", whole=False)

    assert target.loads == pytest.approx(loads)


def test_rows_that_come_more_slowly_take_the_whole_load() -> None:
    """The brief load promised more."""
    target = Answering(1000.0)
    measured = target.measure

    def slowing(test: str, name: str, seconds: float) -> Measurement:
        found = measured(test, name, seconds)
        target.rate = 600.0
        return found

    target.measure = slowing  # type: ignore[method-assign]

    measure_opening(target, plan([Options(duration=5.0)]), "test", "", whole=False)

    assert target.loads == pytest.approx([0.3, 1.2, 5.0])
