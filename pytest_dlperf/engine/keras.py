"""TensorFlow and Keras: the only module that imports them, and only inside functions."""

from __future__ import annotations

import gc
import statistics
import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_dlperf.engine.clock import Clock

_TRIAL_SIZES: Final = 24
_TRIAL_ROUNDS: Final = 3
_TRIAL_LIMIT_NS: Final = 20_000_000
_CLEARLY: Final = 0.95


class Model(Protocol):
    """What the package needs of a Keras model."""

    name: str

    def __call__(self, inputs: object, *, training: bool) -> Any: ...  # noqa: ANN401, D102 - a tensor

    def fit(self, *args: object, **kwargs: object) -> Any: ...  # noqa: ANN401, D102 - a History

    def save(self, path: str) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, eq=False)
class CompiledTarget:
    """A concrete `tf.function` with a free batch axis.

    Attributes:
        infer: numpy in, numpy out; reading the result back waits for the device.
        description: what it is, in words.
    """

    infer: Callable[[NDArray[Any]], NDArray[Any]]
    description: str


def is_model(target: object) -> bool:
    """Whether this is a Keras model; never imports Keras."""
    module = sys.modules.get("keras")
    return module is not None and isinstance(target, module.Model)


def is_function(target: object) -> bool:
    """Whether this is a `tf.function` or a concrete function; never imports TensorFlow."""
    module = sys.modules.get("tensorflow")
    if module is None:
        return False
    kinds = module.types.experimental
    return isinstance(target, (kinds.PolymorphicFunction, kinds.ConcreteFunction))


def name_of(target: object) -> str:
    """How to call a model or function in a message."""
    kind = "Keras model" if is_model(target) else "tf.function"
    return f"{kind} {getattr(target, 'name', None) or getattr(target, '__name__', '')}".strip()


def compile_target(
    target: Any,  # noqa: ANN401 - a Keras model or a tf.function
    sample: NDArray[Any],
    max_batch_size: int,
    clock: Clock,
) -> CompiledTarget:
    """Trace a model or function once, and choose how batches are sent."""
    import tensorflow as tf

    concrete = trace(target, sample)

    def direct(batch: NDArray[Any]) -> NDArray[Any]:
        outputs: NDArray[Any] = concrete(tf.convert_to_tensor(batch)).numpy()
        return outputs

    infer, how = batched(direct, sample, max_batch_size, clock)
    return CompiledTarget(infer, f"{name_of(target)}, {how}")


def trace(target: Any, sample: NDArray[Any]) -> Any:  # noqa: ANN401 - TensorFlow has no types
    """The concrete function of a Keras model or a `tf.function`, with a free batch axis.

    Raises:
        UsageError: if it has several outputs.
    """
    import tensorflow as tf

    concrete = target
    if not isinstance(target, tf.types.experimental.ConcreteFunction):
        spec = tf.TensorSpec((None, *sample.shape[1:]), tf.as_dtype(sample.dtype))
        function = target
        if is_model(target):
            function = tf.function(lambda batch: target(batch, training=False), autograph=False)
        concrete = function.get_concrete_function(spec)
    if not isinstance(concrete.structured_outputs, (tf.Tensor, tf.TensorSpec)):
        raise UsageError(
            f"{name_of(target)} has several outputs: {concrete.structured_outputs!r:.200}",
            "wrap it in a callable infer(batch) that returns the one to be measured",
        )
    return concrete


def batched(
    direct: Callable[[NDArray[Any]], NDArray[Any]],
    sample: NDArray[Any],
    max_batch_size: int,
    clock: Clock,
) -> tuple[Callable[[NDArray[Any]], NDArray[Any]], str]:
    """How batches are sent, and that in words.

    They are padded to powers of two if that is clearly faster here (runtimes that prepare code
    for each shape), and sent as they are otherwise.
    """
    padded = _padded(direct, max_batch_size)
    chosen: Callable[[NDArray[Any]], NDArray[Any]] = direct
    if max_batch_size > 1:
        chosen = _faster(direct, padded, _trial_batches(sample, max_batch_size), clock)
    how = "batches padded to powers of two" if chosen is padded else "batches sent as they are"
    return chosen, how


def _padded(
    direct: Callable[[NDArray[Any]], NDArray[Any]], max_batch_size: int
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def infer(batch: NDArray[Any]) -> NDArray[Any]:
        rows = len(batch)
        size = min(1 << (rows - 1).bit_length(), max_batch_size)
        if rows == size:
            return direct(batch)
        filled = np.zeros((size, *batch.shape[1:]), batch.dtype)
        filled[:rows] = batch
        return direct(filled)[:rows]

    return infer


def _trial_batches(sample: NDArray[Any], max_batch_size: int) -> list[NDArray[Any]]:
    sizes = np.random.default_rng(0).integers(1, max_batch_size + 1, _TRIAL_SIZES)
    return [np.resize(sample, (size, *sample.shape[1:])) for size in sizes]


def _faster(
    direct: Callable[[NDArray[Any]], NDArray[Any]],
    padded: Callable[[NDArray[Any]], NDArray[Any]],
    batches: Iterable[NDArray[Any]],
    clock: Clock,
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Each of the two on the same batches in turn; a tie goes to the one that adds nothing."""
    ratios = []
    for batch in batches:
        times: dict[bool, list[int]] = {False: [], True: []}
        for turn in range(2 * _TRIAL_ROUNDS):
            pad = bool(turn % 2)
            started_ns = clock.now_ns()
            (padded if pad else direct)(batch)
            times[pad].append(clock.now_ns() - started_ns)
        if min(times[False]) > _TRIAL_LIMIT_NS:
            return direct
        ratios.append(statistics.mean(times[True]) / max(1.0, statistics.mean(times[False])))
    return padded if statistics.median(ratios) < _CLEARLY else direct


class Tracings:
    """How often each `tf.function` of this process was traced; never imports TensorFlow.

    Functions are found among the objects of the garbage collector, so also those that a callable
    hides. Make it before `gc.freeze`, which hides objects from the search.
    """

    def __init__(self) -> None:
        self._functions: dict[int, Any] = {}
        self._search()

    def count(self) -> Counter[str]:
        """Traces so far, by the function's name; those of functions made meanwhile included."""
        self._search()
        counts: Counter[str] = Counter()
        for function in self._functions.values():
            counts[function.python_function.__name__] += function.experimental_get_tracing_count()
        return counts

    def _search(self) -> None:
        module = sys.modules.get("tensorflow")
        if module is None:
            return
        kind = module.types.experimental.PolymorphicFunction
        objects = gc.get_objects()
        # By type: isinstance() would run code of whatever object it is asked about.
        types = {one for one in set(map(type, objects)) if issubclass(one, kind)}
        found = [one for one in objects if type(one) in types]
        self._functions.update((id(function), function) for function in found)


def dense_classifier(features: int, units: int, classes: int, seed: int) -> Model:
    """The reference model: Dense relu, Dense softmax; adam, sparse cross-entropy, accuracy."""
    import keras

    keras.utils.set_random_seed(seed)
    model: Model = keras.Sequential(
        [
            keras.Input((features,)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(classes, activation="softmax"),
        ],
        name="reference_model",
    )
    model.compile(  # type: ignore[attr-defined]  # only here is a model compiled for training
        optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def save(model: Model, path: Path) -> None:
    """Save a model in Keras' own format."""
    with warnings.catch_warnings():
        # Keras converts its variables in a way that numpy 2 complains about; users cannot help it.
        warnings.simplefilter("ignore", DeprecationWarning)
        model.save(str(path))


def load(path: Path) -> Model:
    """Load a model from Keras' own format, refusing anything that could run code."""
    import keras

    model: Model = keras.saving.load_model(path, safe_mode=True)
    return model


def precision() -> str:
    """Keras' default precision (dtype policy); never imports Keras to ask."""
    module = sys.modules.get("keras")
    return str(module.config.dtype_policy().name) if module is not None else "float32"
