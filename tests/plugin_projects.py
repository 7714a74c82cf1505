"""A test module with a numpy target, so that the plugin is driven without TensorFlow."""

from __future__ import annotations

# The target takes its time, so that a short run has thousands of requests: a million of them take
# longer to evaluate than to make.
HEADER = """
import time

import numpy as np
import pytest
from pytest_dlperf import *

INPUTS = np.random.default_rng(0).random((200, 4)).astype("float32")
LABELS = INPUTS.argmax(axis=1)
DATA = (INPUTS, LABELS)
SHORT = dict(scenario=ClosedLoop(clients=8), duration="0.3s")

def identity(batch):
    end = time.perf_counter() + 200e-6
    while time.perf_counter() < end:
        pass
    return batch.copy()

"""
