"""PyTorch modules, and Keras models on PyTorch; PyTorch is imported inside functions only."""

from __future__ import annotations

import copy
import sys
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf._processes import call_with_timeout
from pytest_dlperf.errors import UsageError, in_a_line
from pytest_dlperf.targets.arguments import parameters_of, taking_batches
from pytest_dlperf.targets.compiled import CompiledTarget, batched, of_fixed_sizes
from pytest_dlperf.targets.keras_backend import fixed_batch_size, is_keras_model, keras_backend
from pytest_dlperf.targets.users_frames import frames_of
from pytest_dlperf.trees import as_tree, leaves, mapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.trees import Rows, Tree

_LONGEST: Final = 120  # characters of a layer; a module of many is its user's, who knows it


def recognises(target: object) -> bool:
    """Whether this is a module, a Keras model on PyTorch included."""
    module = sys.modules.get("torch")
    if module is None or not hasattr(module, "nn"):
        return False
    if is_keras_model(target):
        return keras_backend() == "torch"
    return isinstance(target, module.nn.Module)


def name_of(target: Any) -> str:  # noqa: ANN401 - a module
    """A module in words."""
    if is_keras_model(target):
        return f"Keras model {target.name} on PyTorch"
    compiled = " compiled by torch.compile" if is_compiled(target) else ""
    inner = getattr(target, "_orig_mod", target)
    return f"PyTorch module {type(inner).__name__}{compiled}"


def is_compiled(target: Any) -> bool:  # noqa: ANN401 - a module
    """Whether `torch.compile` made this module, which then compiles for each shape."""
    return hasattr(target, "_orig_mod")


def checked(module: object) -> object:
    """The module as it is; a UsageError if it is none."""
    if not recognises(module):
        raise UsageError(f"as_target({module!r:.80}, 'torch')", "expected a torch.nn.Module")
    return module


def compiled(module: object) -> object:
    """The module in evaluation mode, compiled by `torch.compile` for each batch size."""
    import torch

    inner: Any = checked(module)
    return torch.compile(_for_inference(inner, _place(inner, None)), dynamic=False)


def devices_here() -> tuple[str, ...]:
    """PyTorch's devices, such as `cpu:0`."""
    import torch

    return ("cpu:0", *(f"gpu:{number}" for number in range(torch.cuda.device_count())))


def batch_size(target: Any) -> int | None:  # noqa: ANN401 - a module
    """The batch size that a Keras model's inputs fix; None of anything else."""
    return fixed_batch_size(target) if is_keras_model(target) else None


def compile_target(
    target: Any,  # noqa: ANN401 - a module
    sample: Rows,
    plan: Plan,
    clock: Clock,
    device: str | None,
) -> CompiledTarget:
    """A module for inference, on a device.

    It is called in `inference_mode`, and in evaluation mode: a copy is, if the module itself is in
    training mode or belongs on another device.

    Raises:
        UsageError: for text, which PyTorch does not have, and for a module that cannot be copied.
    """
    import torch

    for path, leaf in leaves(as_tree(sample)):
        if leaf.dtype.hasobject:
            raise UsageError(
                f"{name_of(target)} is given text{f' as {path}' if path else ''}: PyTorch has none",
                "make numbers of it before, or in a callable around the module",
            )
    place = _place(target, device)
    module = _for_inference(target, place)
    take = _call_of(module, as_tree(sample))

    def compiled() -> CompiledTarget:
        tensor = _sharing if _leaves_inputs(take, sample, place) else partial(_copied, place)

        def infer(batch: Tree) -> object:
            with torch.inference_mode():
                answer: Any = take(mapped(tensor, batch))
            # Outputs in trees, on other devices or in types of PyTorch's own are read elsewhere.
            plain = isinstance(answer, torch.Tensor) and answer.dtype is torch.float32
            return answer.numpy() if plain and not answer.is_cuda else answer

        if is_compiled(module):
            padded, batches = of_fixed_sizes(infer, plan)
        else:
            padded, batches = batched(infer, sample, plan, clock)
        return CompiledTarget(padded, batches, source=module)

    return call_with_timeout(plan.compile_timeout, compiled)


def layer_of(error: Exception, target: object) -> str:
    """The innermost layer of a module that an error passed, with its sizes; empty without one.

    PyTorch's own messages name neither: `index out of range in self`.
    """
    if not recognises(target):
        return ""
    inner: Any = target
    kinds = [type(module) for module in inner.modules()]
    layer, passed = None, [frame.tb_frame.f_locals.get("self") for frame in frames_of(error)]
    for module in passed:  # of a copy in evaluation mode, so that it is told by its type
        layer = module if type(module) in kinds else layer
    words = " ".join(repr(layer).split())
    return "" if layer is None or len(words) > _LONGEST else f"refused by {words}"


def _copied(place: Any, leaf: NDArray[Any]) -> Any:  # noqa: ANN401 - a device, a tensor
    import torch

    return torch.tensor(leaf, device=place)


def _sharing(leaf: NDArray[Any]) -> Any:  # noqa: ANN401 - a tensor
    """A tensor of the data itself, which is not to be written to."""
    import torch

    return torch.from_numpy(leaf)


def _leaves_inputs(
    take: Callable[[Tree], object],
    sample: Rows,
    place: Any,  # noqa: ANN401 - a device
) -> bool:
    """Whether a module on the CPU leaves its inputs as they are, so that they need no copy."""
    import torch

    if place.type != "cpu":
        return False
    with warnings.catch_warnings():
        # Said once a process: that an array is read-only, and its tensor must be.
        warnings.simplefilter("ignore")
        mapped(_sharing, sample[:1])
    inputs = mapped(partial(_copied, place), sample[:])
    with torch.inference_mode():
        take(inputs)
    pairs = zip(leaves(inputs), leaves(sample[:]), strict=True)
    return all(np.array_equal(np.asarray(after), before) for (_, after), (_, before) in pairs)


def _place(target: Any, device: str | None) -> Any:  # noqa: ANN401 - a module, a device
    """Where inputs go: to the device, or to where the module's first parameter is."""
    import torch

    if device is not None:
        kind, _, number = device.partition(":")
        return torch.device("cpu") if kind == "cpu" else torch.device("cuda", int(number))
    first = next(iter(target.parameters()), None)
    return torch.device("cpu") if first is None else first.device


def _for_inference(target: Any, place: Any) -> Any:  # noqa: ANN401 - modules, a device
    """The module in evaluation mode on a device; itself if it is there and in that mode."""
    if is_keras_model(target):
        return target
    there = all(parameter.device == place for parameter in target.parameters())
    if there and not any(module.training for module in target.modules()):
        return target
    try:
        module = copy.deepcopy(target)
    except Exception as error:  # the module's own code may raise anything
        raise UsageError(
            f"{name_of(target)} is in training mode, or on another device than {place}, and cannot "
            f"be copied: {in_a_line(error)}",
            "call its eval(), and to(device), before you measure it",
        ) from error
    return module.to(place).eval()


def _call_of(module: Any, inputs: Tree) -> Callable[[Tree], object]:  # noqa: ANN401 - a module
    """The module as a function of a batch."""
    if is_keras_model(module):
        return lambda batch: module(batch, training=False)
    forward = getattr(module, "_orig_mod", module).forward
    return taking_batches(module, parameters_of(forward), inputs)
