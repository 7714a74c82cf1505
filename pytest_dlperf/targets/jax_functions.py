"""Functions of `jax.jit`, and Keras models on JAX; JAX is imported inside functions only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_dlperf._processes import call_with_timeout
from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.arguments import parameters_of, taking_batches
from pytest_dlperf.targets.compiled import CompiledTarget, of_fixed_sizes
from pytest_dlperf.targets.keras_backend import fixed_batch_size, is_keras_model, keras_backend
from pytest_dlperf.targets.reads import is_jitted
from pytest_dlperf.trees import as_tree, leaves, mapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.trees import Rows, Tree


def recognises(target: object) -> bool:
    """Whether this is a function of `jax.jit`, or a Keras model on JAX."""
    return is_jitted(target) or (is_keras_model(target) and keras_backend() == "jax")


def name_of(target: Any) -> str:  # noqa: ANN401 - a function or a model
    """A function or model in words."""
    if is_jitted(target):
        return f"JAX function {getattr(target, '__name__', '')}".strip()
    return f"Keras model {target.name} on JAX"


def jitted(function: Any) -> object:  # noqa: ANN401 - a function
    """A function compiled with `jax.jit`; a UsageError if it is none, or JAX is not installed."""
    if is_jitted(function):
        return function
    if not callable(function) or isinstance(function, type):
        raise UsageError(f"as_target({function!r:.80}, 'jax')", "expected a function of JAX arrays")
    try:
        import jax
    except ImportError:
        raise UsageError(
            "the runtime jax needs JAX, which is not installed", "pip install 'pytest-dlperf[jax]'"
        ) from None
    return jax.jit(function)


def devices_here() -> tuple[str, ...]:
    """JAX's devices, such as `cpu:0`; starts JAX."""
    return tuple(_devices())


def batch_size(target: Any) -> int | None:  # noqa: ANN401 - a function or a model
    """The batch size that a Keras model's inputs fix; None of anything else."""
    return None if is_jitted(target) else fixed_batch_size(target)


def compile_target(
    target: Any,  # noqa: ANN401 - a function or a model
    sample: Rows,
    plan: Plan,
    clock: Clock,
    device: str | None,
) -> CompiledTarget:
    """Compile a function for a few batch sizes, to which batches are padded.

    A Keras model's variables are copied to the device. Functions compute where their inputs are.

    Raises:
        UsageError: for text, which JAX does not have.
    """
    del clock  # nothing is tried: JAX compiles for each shape
    import jax

    for path, leaf in leaves(as_tree(sample)):
        if leaf.dtype.hasobject:
            raise UsageError(
                f"{name_of(target)} is given text{f' as {path}' if path else ''}: JAX has none",
                "make numbers of it before, or in a callable around the function",
            )
    place = _devices()[device] if device else None
    weights: tuple[object, ...] = ()
    if is_jitted(target):
        call = taking_batches(target, parameters_of(target), as_tree(sample))
    else:
        call, weights = _stateless(target, sample, place)

    def infer(batch: Tree) -> object:
        if place is not None:
            batch = mapped(lambda leaf: jax.device_put(leaf, place), batch)
        return call(batch)

    def compiled() -> CompiledTarget:
        padded, batches = of_fixed_sizes(infer, plan)
        return CompiledTarget(padded, batches, weights=weights)

    return call_with_timeout(plan.compile_timeout, compiled)


def _devices() -> dict[str, Any]:
    """JAX's devices of this process by name."""
    import jax

    found: dict[str, Any] = {}
    cpus = jax.local_devices(backend="cpu")
    others = [device for device in jax.local_devices() if device.platform != "cpu"]
    for kind, devices in (("cpu", cpus), ("gpu", others)):
        found |= {f"{kind}:{number}": device for number, device in enumerate(devices)}
    return found


def _stateless(
    model: Any,  # noqa: ANN401 - a Keras model
    sample: Rows,
    place: object,
) -> tuple[Callable[[Tree], object], tuple[object, ...]]:
    """A Keras model as a compiled function of a batch, and the variables that it reads."""
    import jax

    if not model.built:
        model(sample[:1], training=False)
    variables = [
        [jax.device_put(variable.value, place) for variable in some]
        for some in (model.trainable_variables, model.non_trainable_variables)
    ]

    @jax.jit
    def answer(trainable: Any, others: Any, batch: Any) -> Any:  # noqa: ANN401 - trees of arrays
        outputs, _ = model.stateless_call(trainable, others, batch, training=False)
        return outputs

    return lambda batch: answer(*variables, batch), tuple(map(tuple, variables))
