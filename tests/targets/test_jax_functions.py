"""Functions of `jax.jit` are measured as they are, with batches of a few sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import FakeMeter, FakeProgress

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.measure import measure
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.targets.conversion import as_target
from pytest_dlperf.targets.target import prepare

pytestmark = pytest.mark.jax

jax: Any = None

ROWS = np.random.default_rng(0).random((300, 8)).astype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def _jax(request: pytest.FixtureRequest) -> None:
    """Import it only where these tests are run: collecting all tests would take seconds more."""
    request.module.jax = pytest.importorskip("jax")


def measured(target: object, data: object, **options: Any) -> Any:  # noqa: ANN401 - any option
    """A short measurement on the real clock."""
    chosen = {"scenario": ClosedLoop(16), "duration": 0.2, **options}
    bench = Instruments(MonotonicClock(), FakeMeter(), FakeProgress())
    return measure(target, as_data(data), plan([Options(**chosen)]), bench, test="t", name="")


@pytest.mark.parametrize("devices", [None, ("cpu:0",)])
def test_every_row_gets_its_own_answer(devices: Any) -> None:  # noqa: ANN401
    """On the default device and on one that is named."""

    @jax.jit
    def classify(rows: Any) -> Any:  # noqa: ANN401
        return jax.nn.softmax(rows[:, :3] * 9)

    labels = ROWS[:, :3].argmax(1)
    found = measured(classify, (ROWS, labels), serving=Serving(8, replicas=2, devices=devices))

    assert found.metrics["accuracy"].value == 1
    assert found.errors == ()
    assert found.target.startswith("JAX function classify")


def test_a_few_sizes_are_compiled() -> None:
    """Batches are padded, so that nothing is compiled under load."""
    traced = []

    @jax.jit
    def double(rows: Any) -> Any:  # noqa: ANN401
        traced.append(rows.shape[0])
        return rows * 2

    ready = prepare(double, ROWS[:8], plan([Options(serving=Serving(8))]), MonotonicClock())
    assert traced == [1, 2, 4, 8]
    for rows in range(1, 9):
        answer = np.asarray(ready.replicas[0].infer(ROWS[:rows]))
        np.testing.assert_array_equal(answer, ROWS[:rows] * 2)

    assert traced == [1, 2, 4, 8]
    assert "batches padded to powers of two" in ready.description


def test_several_inputs_and_outputs() -> None:
    """By name, by place, or as a whole."""

    def both(user: Any, item: Any) -> Any:  # noqa: ANN401
        return {"odd": (user + item) % 2, "sum": user + item}

    user, item = np.arange(200), np.arange(200) ** 2
    labels = (user + item) % 2
    named = {"item": item, "user": user}
    for target, inputs in (
        (jax.jit(both), named),
        (jax.jit(both), (user, item)),
        (jax.jit(lambda batch: both(**batch)), named),
    ):
        found = measured(target, (inputs, labels), output="odd")
        assert found.metrics["accuracy"].value == 1


def test_text_is_refused() -> None:
    """JAX has none."""
    with pytest.raises(UsageError, match="is given text: JAX has none"):
        measured(jax.jit(lambda rows: rows), (["a", "b"], None))


def test_a_plain_function_on_request() -> None:
    """It is compiled; what is compiled stays as it is."""
    target = as_target(lambda rows: rows * 2, "jax")

    assert measured(target, (ROWS, ROWS * 2), task="regression").metrics["loss"].value < 1e-9
    assert as_target(target, "jax") is target
