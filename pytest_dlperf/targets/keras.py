"""Keras models and `tf.function`s: recognised, placed on devices, and traced to be measured.

TensorFlow and Keras are imported inside functions only.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from fnmatch import fnmatch
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pytest_dlperf._processes import call_with_timeout
from pytest_dlperf.errors import TargetError, UsageError
from pytest_dlperf.targets import local_devices
from pytest_dlperf.targets.arguments import taking_batches
from pytest_dlperf.targets.compiled import CompiledTarget, batched
from pytest_dlperf.targets.keras_backend import fixed_batch_size, is_keras_model
from pytest_dlperf.targets.keras_inputs import (
    SERVING,
    is_function,
    is_saved_model,
    parameters_of_function,
)
from pytest_dlperf.trees import as_tree, mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.targets.padding import Infer
    from pytest_dlperf.trees import Rows, Tree


class Model(Protocol):
    """A Keras model; Keras itself has no types."""

    name: str

    def __call__(self, inputs: object, *, training: bool) -> Any: ...  # noqa: ANN401, D102 - a tensor

    def __getattr__(self, name: str) -> Any: ...  # noqa: ANN401


class Placed(Protocol):
    """A tensor, a variable, or an operation of a graph."""

    name: str
    device: str


class Concrete(Protocol):
    """A concrete `tf.function`."""

    variables: Sequence[Placed]
    structured_outputs: object
    structured_input_signature: tuple[tuple[object, ...], dict[str, object]]
    outputs: Any  # symbolic tensors
    graph: Any

    def __call__(self, *batch: object, **named: object) -> Any: ...  # noqa: ANN401, D102 - tensors


def recognises(target: object) -> bool:
    """Whether this is a Keras model, a `tf.function`, or a loaded SavedModel."""
    return is_keras_model(target) or is_function(target) or is_saved_model(target)


def load_saved_model(path: Path) -> object:
    """Load the folder of a SavedModel."""
    import tensorflow as tf

    loaded: object = tf.saved_model.load(str(path))
    return loaded


def name_of(target: object) -> str:
    """A model or function in words, for messages."""
    if is_saved_model(target):
        return "SavedModel"
    name = getattr(target, "name", None) or getattr(target, "__name__", "")
    # The name of a concrete function is bytes.
    name = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    if "signature_wrapper" in name:
        return "signature of a SavedModel"
    return f"{'Keras model' if is_keras_model(target) else 'tf.function'} {name}".strip()


def devices_here() -> tuple[str, ...]:
    """Each CPU and visible GPU of this process, such as `cpu:0`; initialises none."""
    return local_devices.devices_here()


def batch_size(target: Any) -> int | None:  # noqa: ANN401 - a model or a function
    """The only batch size that a model or a function takes; None if it takes any."""
    if is_keras_model(target):
        return fixed_batch_size(target)
    target = target.signatures[SERVING] if is_saved_model(target) else target
    of_concrete = getattr(target, "structured_input_signature", None)
    signature = of_concrete or getattr(target, "input_signature", None)
    if signature is None:
        return None
    import tensorflow as tf

    sizes = {
        spec.shape[0]
        for spec in tf.nest.flatten(signature)
        if isinstance(spec, tf.TensorSpec) and spec.shape.rank
    }
    size = next(iter(sizes)) if len(sizes) == 1 else None
    return size if isinstance(size, int) else None


def compile_target(
    target: Any,  # noqa: ANN401 - a Keras model or a tf.function
    sample: Rows,
    plan: Plan,
    clock: Clock,
    device: str | None,
) -> CompiledTarget:
    """Trace a model or function once, with a free batch axis.

    A model's weights are copied to the device, such as `cpu:0`; None leaves the placement to
    TensorFlow. `sample` has as many rows as the largest batch.

    Raises:
        UsageError: if it has variables on another device.
        TargetError: if its answer is computed on another device.
        AnswerError: if a trial call does not return.
    """
    serving = plan.served
    weights: tuple[object, ...] = ()
    with _scope(device):
        if is_keras_model(target) and device is not None:
            answer, weights = _with_own_weights(target, sample)
            concrete = _traced(answer, sample, batch_size(target))
        else:
            concrete = trace(target, sample)

    def check_and_try() -> CompiledTarget:
        remark = ""
        if device is not None:
            smallest = (serving.allowed_batch_sizes or (1,))[0]
            remark = _check_place(name_of(target), concrete, sample[:smallest], device)
        infer, batches = batched(caller(concrete, device), sample, plan, clock)
        return CompiledTarget(infer, batches, remark, weights, target)

    # Tracing stays in the caller's thread, because Keras keeps its dtype policy per thread; calls
    # run in another one, which a timeout can abandon.
    return call_with_timeout(plan.compile_timeout, check_and_try)


def _full(device: str) -> str:
    return f"/device:{device.upper()}"


def _short(device: str) -> str:
    return device.rpartition("/device:")[2].lower()


def _scope(device: str | None) -> AbstractContextManager[object]:
    import tensorflow as tf

    scope: AbstractContextManager[object] = tf.device(_full(device)) if device else nullcontext()
    return scope


def _with_own_weights(
    model: Any,  # noqa: ANN401 - a Keras model
    sample: Rows,
) -> tuple[Callable[[object], Any], tuple[object, ...]]:
    """The model as a function of a batch, and copies of its variables that the function reads.

    The copies are made in the present device scope. Keras' `StatelessScope` computes with values
    in place of a model's variables, so no layer is cloned and layers of any class work.
    """
    import keras
    import tensorflow as tf

    ensure_built(model, sample)
    # Not `weights`: it leaves out the states of random seeds, which layers may change.
    originals = model.variables
    copies = tuple(tf.Variable(variable.value, name=variable.name) for variable in originals)

    def answer(batch: object) -> object:
        before = [tf.convert_to_tensor(copy) for copy in copies]
        with keras.StatelessScope(zip(originals, before, strict=True)) as scope:
            outputs = model(batch, training=False)
        for original, copy, old in zip(originals, copies, before, strict=True):
            new = scope.get_current_value(original)
            if new is not old:  # the layer keeps state between calls
                copy.assign(new)
        return outputs

    return answer, copies


def trace(target: Any, sample: Rows) -> Concrete:  # noqa: ANN401 - a model or a function
    """The concrete function of a Keras model or a `tf.function`, with a free batch axis."""
    function = partial(target, training=False) if is_keras_model(target) else target
    function = target.signatures[SERVING] if is_saved_model(target) else function
    return _traced(function, sample, batch_size(target))


def tensors(batch: Tree) -> Any:  # noqa: ANN401 - a tree of tensors
    """The batch with each array as a tensor."""
    import tensorflow as tf

    return mapped(tf.convert_to_tensor, batch)


def _signature(sample: Rows, rows: int | None) -> Any:  # noqa: ANN401 - a tree
    """What a function for such rows takes: tensors with a free batch axis, or so many rows."""
    import tensorflow as tf

    def spec(leaf: NDArray[Any]) -> Any:  # noqa: ANN401 - of TensorFlow's
        dtype = tf.string if leaf.dtype.hasobject else tf.as_dtype(leaf.dtype)
        return tf.TensorSpec((rows, *leaf.shape[1:]), dtype)

    return mapped(spec, as_tree(sample))


def ensure_built(target: Any, sample: Rows) -> None:  # noqa: ANN401 - a model or a function
    """Call a model once if it has no weights yet."""
    if is_keras_model(target) and not target.built:
        target(tensors(sample[:1]), training=False)


def _traced(
    function: Any,  # noqa: ANN401 - a function of TensorFlow's or a plain one
    sample: Rows,
    rows: int | None,
) -> Concrete:
    import tensorflow as tf

    function = taking_batches(function, parameters_of_function(function), as_tree(sample))
    if not is_function(function):
        plain = function
        # As in Keras' own functions: AutoGraph would rewrite the Python of the user's layers.
        function = tf.function(lambda batch: readable(plain(batch)), autograph=False)
    # One concrete function for all batch sizes: a `tf.function` is traced anew for each shape, and
    # looks up the trace in each call.
    given = isinstance(function, tf.types.experimental.ConcreteFunction)
    concrete: Concrete = (
        function if given else function.get_concrete_function(_signature(sample, rows))
    )
    outputs = concrete.structured_outputs
    plain = (tf.Tensor, tf.TensorSpec) if given else (tf.Tensor, tf.TensorSpec, Mapping)
    if isinstance(outputs, plain) or len(tf.nest.flatten(outputs)) != 1:
        return concrete
    # Such as the signature of a SavedModel: calls of one input and output are quicker traced anew.
    only = tf.function(lambda batch: readable(concrete(batch)), autograph=False)
    return _traced(only, sample, rows)


def readable(outputs: object) -> object:
    """Outputs of mixed precision as float32, since numpy has no bfloat16; others as they are.

    A list or tuple of one tensor is that tensor; ragged tensors are padded.
    """
    import tensorflow as tf

    leaves = tf.nest.flatten(outputs)
    if len(leaves) == 1 and not isinstance(outputs, Mapping):
        (outputs,) = leaves

    def plain(tensor: object) -> object:
        if isinstance(tensor, tf.RaggedTensor):
            tensor = tensor.to_tensor()
        if isinstance(tensor, tf.Tensor) and tensor.dtype == tf.bfloat16:
            return tf.cast(tensor, tf.float32)
        return tensor

    return tf.nest.map_structure(plain, outputs)


def _check_place(name: str, concrete: Concrete, batch: Tree, device: str) -> str:
    """Refuse answers made on another device; return a remark on the first step that runs on one."""
    import tensorflow as tf

    for variable in concrete.variables:
        # TensorFlow would copy it between devices in every call.
        if not variable.device.endswith(_full(device)):
            raise UsageError(
                f"{name} cannot run on {device}: its variable {variable.name!r} is on "
                f"{_short(variable.device)}",
                "the weights of a Keras model are copied to each device; other variables must "
                f"be made under tf.device('{device}')",
            )
    with _scope(device):
        answer = tf.nest.flatten(concrete(tensors(batch)))[0]
    source = concrete.outputs[0].op
    while source.type == "Identity":  # placed where the function is called, not where it computes
        source = source.inputs[0].op
    for place in filter(None, (answer.device, source.device)):
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


def _to_numpy(tensor: Any) -> Any:  # noqa: ANN401 - a tensor
    return tensor.numpy()


def caller(concrete: Concrete, device: str | None = None) -> Infer:
    """A concrete function with numpy in and out; reading the result waits for the device."""
    import tensorflow as tf

    def one_to_one(batch: Tree) -> object:
        return concrete(tf.convert_to_tensor(batch)).numpy()

    def of_trees(batch: Tree) -> object:
        return mapped(_to_numpy, concrete(mapped(tf.convert_to_tensor, batch)))

    tensor = (tf.Tensor, tf.TensorSpec)
    arguments, named = concrete.structured_input_signature
    taken = [*arguments, *named.values()]
    single = len(taken) == 1 and isinstance(taken[0], tensor)
    direct = one_to_one if single and isinstance(concrete.structured_outputs, tensor) else of_trees
    if device is None:
        return direct
    where = _full(device)

    def on_device(batch: Tree) -> object:
        # A function runs in the scope of its call, not in that of its tracing.
        with tf.device(where):
            return direct(batch)

    return on_device
