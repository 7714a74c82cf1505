"""A test module with a numpy target, so that the plugin is driven without TensorFlow."""

from __future__ import annotations

# Time passes where a target works or somebody waits: on the simulated clock of most tests at once.
# The target takes its time, so that a short run has thousands of requests: a million of them take
# longer to evaluate than to make.
HEADER = """
import random

import numpy as np
import pytest
from pytest_dlperf import *
from pytest_dlperf.clock import MonotonicClock

INPUTS = np.random.default_rng(0).random((200, 4)).astype("float32")
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
