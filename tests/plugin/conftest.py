"""A project with a numpy target, so that the plugin is driven without TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
import scipy.special

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = """
import numpy as np
import pytest
from pytest_dlperf import *

INPUTS = np.random.default_rng(0).random((200, 4)).astype("float32")
LABELS = INPUTS.argmax(axis=1)
DATA = (INPUTS, LABELS)
SHORT = dict(scenario=ClosedLoop(clients=8), duration="0.3s")

def identity(batch):
    return batch.copy()

"""

# In-process runs drop the modules that they imported; extension modules bear no second import.
LOADED_ONCE = (np, psutil, scipy.special)


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the plugin does must not depend on where its own tests run."""
    monkeypatch.delenv("CI", raising=False)


@pytest.fixture
def run(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Write a test module below the common header, and run pytest on it in this process."""

    def run_module(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_module=HEADER + source)
        return pytester.runpytest_inprocess("-p", "no:benchmark", *options)

    return run_module


@pytest.fixture
def again(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Run pytest once more on what is there."""

    def run_again(*options: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess("-p", "no:benchmark", *options)

    return run_again
