"""Models of JAX and PyTorch as callables: their calls last until the answer can be read."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest
from plugin_projects import HEADER, assert_no_frame_of_ours, text

if TYPE_CHECKING:
    from collections.abc import Callable

JAX = """
import time

import jax

WEIGHTS = np.full((600, 600), 1e-3, "float32")
ROWS = np.ones((8, 600), "float32")

@jax.jit
def infer(batch):
    square = jax.lax.fori_loop(0, 5, lambda _, value: jax.numpy.tanh(value @ WEIGHTS), WEIGHTS)
    return batch @ square

def least_seconds():
    times = []
    for _ in range(5):
        began = time.perf_counter()
        infer(ROWS).block_until_ready()
        times.append(time.perf_counter() - began)
    return min(times)

@pytest.mark.parametrize("replicas", [1, 2])
def test_it(dlperf, replicas):
    infer(ROWS).block_until_ready()
    before = least_seconds()
    serving = Serving(max_batch_size=8, replicas=replicas)
    m = dlperf(infer, (ROWS, None), scenario=ClosedLoop(8), serving=serving, duration=0.5)
    # Dispatching takes a hundredth of computing.
    assert m.p50 > min(before, least_seconds()) / 3
"""

TORCH = """
import torch

LAYER = torch.nn.Linear(4, 3)
ROWS = np.ones((8, 4), "float32"), None
LOAD = dict(scenario=ClosedLoop(8), duration=0.2)

def infer(batch):
    return LAYER(torch.tensor(batch))

def test_without_gradients(dlperf):
    assert dlperf(torch.no_grad()(infer), ROWS, **LOAD).throughput > 0

def test_with_gradients(dlperf):
    dlperf(infer, ROWS, **LOAD)

def test_without_gradients_in_this_thread(dlperf):
    with torch.no_grad():
        dlperf(infer, ROWS, **LOAD)
"""


@pytest.fixture
def run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], pytest.RunResult]:
    """Run a test module that needs a framework, in a process of its own.

    In one process they cannot be imported a second time.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run_module(framework: str, source: str) -> pytest.RunResult:
        if importlib.util.find_spec(framework) is None:
            pytest.skip(f"{framework} is not installed")
        pytester.makepyfile(test_module=HEADER + source)
        return pytester.runpytest_subprocess("-p", "dlperf", "-W", "error")

    return run_module


@pytest.mark.subprocess
def test_a_call_of_jax_lasts_until_its_answer_is_there(
    run: Callable[[str, str], pytest.RunResult],
) -> None:
    """JAX returns before it has computed; a call ends when its answer was read."""
    run("jax", JAX).assert_outcomes(passed=2)


@pytest.mark.subprocess
def test_tensors_of_torch(run: Callable[[str, str], pytest.RunResult]) -> None:
    """They are read without a warning, and gradients that forbid it are named in words."""
    result = run("torch", TORCH)

    result.assert_outcomes(passed=1, failed=2)
    assert "torch.no_grad()" in text(result)
    assert "detach()" in text(result)
    assert_no_frame_of_ours(result)
