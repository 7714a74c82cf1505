"""TensorFlow and Keras: the only module that imports them, and only inside functions."""

from __future__ import annotations

import sys
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, Protocol

from pytest_dlperf._processes import call_with_timeout
from pytest_dlperf._values import KINDS
from pytest_dlperf.errors import TargetError, UsageError
from pytest_dlperf.targets.padding import (
    faster,
    padded,
    padding_words,
    powers_of_two,
    trial_batches,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.targets.padding import Infer


class Model(Protocol):
    """What the package needs of a Keras model."""

    name: str

    def __call__(self, inputs: object, *, training: bool) -> Any: ...  # noqa: ANN401, D102 - a tensor

    def fit(self, *args: object, **kwargs: object) -> Any: ...  # noqa: ANN401, D102 - a History

    def save(self, path: str) -> None: ...  # noqa: D102


class Placed(Protocol):
    """A tensor, a variable, or an operation of a graph."""

    name: str
    device: str


class Concrete(Protocol):
    """A concrete `tf.function`."""

    variables: Sequence[Placed]
    structured_outputs: object
    outputs: Any  # symbolic tensors
    graph: Any

    def __call__(self, batch: object) -> Any: ...  # noqa: ANN401, D102 - a tensor


@dataclass(frozen=True, slots=True, eq=False)
class CompiledTarget:
    """A concrete `tf.function` with a free batch axis.

    Attributes:
        infer: numpy in, numpy out; reading the result back waits for the device.
        batches: how batches reach it, in words.
        remark: what a reader should know of where it runs; may be empty.
        weights: variables of its own, which live as long as somebody holds them.
    """

    infer: Infer
    batches: str
    remark: str
    weights: tuple[object, ...]


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


def device_names() -> tuple[str, ...]:
    """Each CPU and each visible GPU of this process, such as `cpu:0`; starts none of them."""
    import tensorflow as tf

    names = []
    for kind in KINDS:
        visible = tf.config.get_visible_devices(kind.upper())
        parts = [tf.config.get_logical_device_configuration(one) or (None,) for one in visible]
        names += [f"{kind}:{number}" for number in range(sum(map(len, parts)))]
    return tuple(names)


def split_cpu(parts: int) -> None:
    """Make several devices of the CPU, which share its threads.

    Raises:
        UsageError: if TensorFlow has been started with another number already.
    """
    import tensorflow as tf

    (cpu,) = tf.config.get_visible_devices("CPU")
    now = tf.config.get_logical_device_configuration(cpu) or (None,)
    if len(now) == parts:
        return
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(parts)]
        )
    except RuntimeError as error:
        raise UsageError(
            f"the CPU cannot be split into {parts} devices: TensorFlow has been started "
            f"with {len(now)} already ({error})",
            "have nothing make tensors or models before the session starts: a plugin, or a "
            "conftest.py at its top level",
        ) from None


def compile_target(
    target: Any,  # noqa: ANN401 - a Keras model or a tf.function
    sample: NDArray[Any],
    plan: Plan,
    clock: Clock,
    device: str | None,
) -> CompiledTarget:
    """Trace a model or function once, with a free batch axis.

    Args:
        target: what is compiled.
        sample: rows like those that will come, as many as the largest batch has.
        plan: the sizes of batches, and how long trial calls may take together.
        clock: time, to see what is faster.
        device: where it computes, such as `cpu:0`; a model gets weights of its own there. None
            leaves model and function where they are.

    Raises:
        UsageError: if it has several outputs, or variables that are elsewhere.
        TargetError: if it answers from elsewhere all the same.
        AnswerError: if a trial call does not return.
    """
    serving = plan.served
    weights: tuple[object, ...] = ()
    with _scope(device):
        if is_model(target) and device is not None:
            answer, weights = _copied(target, sample)
            concrete = _traced(answer, sample, name_of(target))
        else:
            concrete = trace(target, sample)

    def tried() -> CompiledTarget:
        remark = ""
        if device is not None:
            smallest = (serving.allowed_batch_sizes or (1,))[0]
            remark = _check_place(name_of(target), concrete, sample[:smallest], device)
        infer, batches = batched(_caller(concrete, device), sample, plan, clock)
        return CompiledTarget(infer, batches, remark, weights)

    # Traced in the caller's thread, as TensorFlow needs it; called where it can be given up.
    return call_with_timeout(plan.compile_timeout, tried)


def _full(device: str) -> str:
    return f"/device:{device.upper()}"


def _short(device: str) -> str:
    return device.rpartition("/device:")[2].lower()


def _scope(device: str | None) -> AbstractContextManager[object]:
    import tensorflow as tf

    scope: AbstractContextManager[object] = tf.device(_full(device)) if device else nullcontext()
    return scope


def _answering(model: Model) -> Callable[[object], Any]:
    return lambda batch: model(batch, training=False)


def _copied(
    model: Any,  # noqa: ANN401 - a Keras model
    sample: NDArray[Any],
) -> tuple[Callable[[object], Any], tuple[object, ...]]:
    """What a model answers from a copy of its weights, made in the present device scope.

    Keras' `StatelessScope` computes with values in place of a model's variables: no layer has to
    be cloned, so that it works for whatever class a layer or model is of.

    Returns:
        A function of a batch, and the variables that it reads.
    """
    import keras
    import tensorflow as tf

    if not model.built:
        model(sample[:1], training=False)
    originals = model.variables
    copies = tuple(tf.Variable(one.value, name=one.name) for one in originals)

    def answer(batch: object) -> object:
        before = [tf.convert_to_tensor(one) for one in copies]
        with keras.StatelessScope(zip(originals, before, strict=True)) as scope:
            outputs = model(batch, training=False)
        for original, copy, old in zip(originals, copies, before, strict=True):
            new = scope.get_current_value(original)
            if new is not old:  # a layer that keeps state from call to call
                copy.assign(new)
        return outputs

    return answer, copies


def trace(target: Any, sample: NDArray[Any]) -> Concrete:  # noqa: ANN401 - a model or a function
    """The concrete function of a Keras model or a `tf.function`, with a free batch axis.

    Raises:
        UsageError: if it has several outputs.
    """
    return _traced(_answering(target) if is_model(target) else target, sample, name_of(target))


def _traced(
    function: Any,  # noqa: ANN401 - a function of TensorFlow's or a plain one
    sample: NDArray[Any],
    name: str,
) -> Concrete:
    import tensorflow as tf

    if not is_function(function):
        plain = function
        function = tf.function(lambda batch: readable(plain(batch)), autograph=False)
    if not isinstance(function, tf.types.experimental.ConcreteFunction):
        spec = tf.TensorSpec((None, *sample.shape[1:]), tf.as_dtype(sample.dtype))
        function = function.get_concrete_function(spec)
    concrete: Concrete = function
    if not isinstance(concrete.structured_outputs, (tf.Tensor, tf.TensorSpec)):
        raise UsageError(
            f"{name} has several outputs: {concrete.structured_outputs!r:.200}",
            "wrap it in a callable infer(batch) that returns the one to be measured",
        )
    return concrete


def readable(outputs: object) -> object:
    """Outputs of mixed precision as float32, since numpy has no bfloat16; others as they are."""
    import tensorflow as tf

    if isinstance(outputs, tf.Tensor) and outputs.dtype == tf.bfloat16:
        single: object = tf.cast(outputs, tf.float32)
        return single
    return outputs


def _check_place(name: str, concrete: Concrete, batch: NDArray[Any], device: str) -> str:
    """Refuse what is made elsewhere; returns a remark on the first step that is, if one is."""
    import tensorflow as tf

    for variable in concrete.variables:
        # TensorFlow would fetch it from there in every call.
        if not variable.device.endswith(_full(device)):
            raise UsageError(
                f"{name} cannot run on {device}: its variable {variable.name!r} is on "
                f"{_short(variable.device)}",
                "the weights of a Keras model are copied to each device; other variables must "
                f"be made under tf.device('{device}')",
            )
    with _scope(device):
        answer = concrete(tf.convert_to_tensor(batch))
    maker = concrete.outputs[0].op
    while maker.type == "Identity":  # which is where the function was called, whatever it passes on
        maker = maker.inputs[0].op
    for place in filter(None, (answer.device, maker.device)):
        if not fnmatch(device, _short(place)):
            raise TargetError(
                f"{name} was to run on {device}, but its answer is made on {_short(place)}: it "
                f"chooses the device itself, or ends in a step that {device} has no code for"
            )
    steps = concrete.graph.get_operations()
    elsewhere = [op for op in steps if op.device and not fnmatch(device, _short(op.device))]
    if not elsewhere:
        return ""
    first = elsewhere[0]
    return f"not all of it ran on {device}: step {first.name} chooses {_short(first.device)} itself"


def _caller(concrete: Concrete, device: str | None) -> Infer:
    import tensorflow as tf

    def direct(batch: NDArray[Any]) -> object:
        return concrete(tf.convert_to_tensor(batch)).numpy()

    if device is None:
        return direct
    where = _full(device)

    def there(batch: NDArray[Any]) -> object:
        # A function runs where it is called, whatever the scope that it was traced in.
        with tf.device(where):
            return direct(batch)

    return there


def batched(direct: Infer, sample: NDArray[Any], plan: Plan, clock: Clock) -> tuple[Infer, str]:
    """How batches are sent, and that in words.

    Padded to the sizes that are allowed; where none are named, to powers of two if that is
    clearly faster here (runtimes that prepare code for each shape), else as they are.
    """
    serving = plan.served
    largest = serving.max_batch_size
    if serving.allowed_batch_sizes:
        sizes = serving.allowed_batch_sizes
        return padded(direct, sizes), padding_words(sizes)
    if largest > 1 and plan.tries_padding:
        filled = padded(direct, powers_of_two(largest))
        if faster(direct, filled, trial_batches(sample, largest), clock) is filled:
            return filled, "batches padded to powers of two"
    return direct, "batches sent as they are"


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

    with warnings.catch_warnings():
        # An optimizer that a model shares with one inside it is kept once, and missed the other
        # time; nobody needs its state.
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer", UserWarning)
        model: Model = keras.saving.load_model(path, safe_mode=True)
    return model


def precision() -> str:
    """Keras' default precision (dtype policy); never imports Keras to ask."""
    module = sys.modules.get("keras")
    return str(module.config.dtype_policy().name) if module is not None else "float32"
