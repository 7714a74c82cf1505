"""The real thing: models in processes of their own, with threads of their own."""

from __future__ import annotations

import contextlib
import gc
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import worker_loaders
from fakes import FakeMeter, FakeProgress

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.errors import TargetError, UsageError
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.measure import measure
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.targets import keras as ours
from pytest_dlperf.targets import keras_models
from pytest_dlperf.targets.process_replica import isolate, save_function
from pytest_dlperf.targets.worker import Loader, start_workers

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_dlperf.results.measurement import Measurement

pytestmark = pytest.mark.tensorflow

INPUTS = np.random.default_rng(0).random((60, 8)).astype(np.float32)
ISOLATED = Serving(8, replicas=2, intra_op_threads=1)


@pytest.fixture(scope="module")
def model() -> ours.Model:
    """A trained model, whose training functions must not be in the way."""
    model = keras_models.dense_classifier(8, 16, 3, seed=0)
    model.fit(INPUTS, INPUTS[:, :3].argmax(axis=1), epochs=2, verbose=0)
    return model


def measured(target: object, labels: NDArray[Any] | None, serving: Serving) -> Measurement:
    """A short measurement on the real clock."""
    bench = Instruments(MonotonicClock(), FakeMeter(), FakeProgress())
    the_plan = plan([Options(scenario=ClosedLoop(16), serving=serving, duration=0.2)])
    return measure(target, as_data((INPUTS, labels)), the_plan, bench, test="t", name="")


def test_processes_answer_as_this_one_does(
    model: ours.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row by row, without errors; no file and no process is left; their memory is counted."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    labels = np.asarray(model(INPUTS, training=False)).argmax(axis=1)

    measurement = measured(model, labels, ISOLATED)

    assert measurement.accuracy == 1.0
    assert measurement.errors == ()
    assert measurement.target.startswith("Keras model reference_model in a process each, batches")
    assert measurement.serving == "Serving(max_batch_size=8, replicas=2, intra_op_threads=1)"
    assert measurement.peak_memory > FakeMeter().resident_bytes() + (100 << 20)
    assert list(tmp_path.glob("dlperf-*")) == []
    assert psutil.Process().children() == []


def test_tables_are_sent_and_threads_are_set(tmp_path: Path) -> None:
    """Lookup tables are no variables: the model holds them. The worker has its own threads."""
    import keras

    model: Any = keras.Sequential(
        [
            keras.Input((2,), dtype="int64"),
            keras.layers.IntegerLookup(vocabulary=[7, 8, 9]),
            keras.layers.Embedding(4, 3),
            keras.layers.Flatten(),
        ]
    )
    rows = np.array([[7, 9], [8, 1]])
    save_function(ours.trace(model, rows), model, str(tmp_path))
    arguments = {"folder": str(tmp_path), "intra_op_threads": 3}
    loader = Loader(worker_loaders.__name__, worker_loaders.with_threads.__name__, arguments)

    (worker,) = start_workers(loader, 1, 300)
    with contextlib.closing(worker):
        answers = worker.infer(rows)

    np.testing.assert_array_equal(answers[:, :-2], np.asarray(model(rows)))
    assert answers[:, -2:].tolist() == [[3, 1], [3, 1]]


def test_a_tf_function_and_its_variables_are_sent() -> None:
    """Its variables have their present values; a concrete function is sent as it is."""
    import tensorflow as tf

    factor = tf.Variable(3.0)
    function = tf.function(lambda x: x * factor)
    concrete = function.get_concrete_function(tf.TensorSpec((None, 8)))
    factor.assign(5.0)
    the_plan = plan([Options(serving=Serving(8, intra_op_threads=1))])

    (replica,), description = isolate(function, INPUTS[:8], the_plan, 1, MonotonicClock())
    with contextlib.closing(replica):
        np.testing.assert_allclose(replica.infer(INPUTS[:5]), INPUTS[:5] * 5, rtol=1e-6)

    assert description.startswith("tf.function")
    assert "in a process of its own" in description
    assert ours.trace(concrete, INPUTS) is concrete


def test_what_cannot_be_sent_is_an_error_in_words() -> None:
    """A function that runs Python code of this process cannot run in another one."""
    import tensorflow as tf

    function = tf.function(lambda x: tf.numpy_function(lambda y: y, [x], tf.float32))

    with pytest.raises(TargetError, match=r"(?s)could not be compiled .*Could not find callback"):
        measured(function, None, Serving(8, intra_op_threads=1))
    gc.collect()
    assert psutil.Process().children() == []


def test_several_outputs() -> None:
    """Each comes back from the process, and one has to be chosen as without processes."""
    import tensorflow as tf

    target = tf.function(lambda x: (x, x))

    assert measured(target, None, ISOLATED).errors == ()
    with pytest.raises(UsageError, match="answers several outputs"):
        measured(target, np.zeros(len(INPUTS)), ISOLATED)
