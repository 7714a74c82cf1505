"""Test modules with a numpy target, so that the plugin is driven without TensorFlow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

Run: TypeAlias = "Callable[..., pytest.RunResult]"

# Time passes where a target works or waits: on the simulated clock of most tests in no time.
# The target takes its time, so that a short run has thousands of requests: a million of them take
# longer to evaluate than to make.
HEADER = """
import random

import numpy as np
import pytest
from pytest_dlperf import *
from pytest_dlperf.clock import MonotonicClock

INPUTS = np.random.default_rng(0).random((600, 4)).astype("float32")
LABELS = INPUTS.argmax(axis=1)
DATA = (INPUTS, LABELS)
SHORT = dict(scenario=ClosedLoop(clients=8), duration="0.2s")
CLOCK = MonotonicClock()
JITTER = random.Random(7)

def spend(seconds):
    CLOCK.sleep_until_ns(CLOCK.now_ns() + int(seconds * 1e9 * JITTER.gauss(1, 0.01)))

def identity(batch):
    spend(200e-6)
    return batch.copy()

"""


def measuring(
    marker: str = "**SHORT", call: str = "dlperf(identity, DATA)", name: str = "test_it"
) -> str:
    """The source of a test with a marker that makes one call of the fixture."""
    return f"\n@pytest.mark.dlperf({marker})\ndef {name}(dlperf):\n    {call}\n"


def text(result: pytest.RunResult) -> str:
    """What a run printed, as one line."""
    lines = (line.removeprefix("E").strip() for line in result.outlines + result.errlines)
    return " ".join(" ".join(lines).split())


def assert_no_frame_of_ours(result: pytest.RunResult) -> None:
    """No traceback that a user sees leads into the package."""
    assert not re.search(r"pytest_dlperf/\S+\.py:\d+|Traceback", text(result))
