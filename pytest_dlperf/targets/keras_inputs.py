"""What Keras models, `tf.function`s and SavedModels take; never imports TensorFlow to ask."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.arguments import parameters_of
from pytest_dlperf.targets.keras_backend import is_keras_model
from pytest_dlperf.trees import leaves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_dlperf.trees import Tree


SERVING: Final = "serving_default"
"""The name of the signature for serving."""


def is_function(target: object) -> bool:
    """Whether this is a `tf.function` or a concrete function."""
    module = sys.modules.get("tensorflow")
    if module is None:
        return False
    kinds = module.types.experimental
    return isinstance(target, (kinds.PolymorphicFunction, kinds.ConcreteFunction))


def is_saved_model(target: object) -> bool:
    """Whether this is what `tf.saved_model.load` returned, with the signature for serving."""
    module = sys.modules.get("tensorflow")
    signatures = getattr(target, "signatures", None) if module is not None else None
    return isinstance(signatures, Mapping) and SERVING in signatures


def parameters_of_function(function: Any) -> list[str]:  # noqa: ANN401 - a function
    """The names of what a `tf.function` or concrete function takes; empty of anything else."""
    if not is_function(function):
        return []
    if hasattr(function, "python_function"):
        return parameters_of(function.python_function)
    return list(function.function_type.parameters)


def check_inputs(name: str, target: Any, inputs: Tree) -> None:  # noqa: ANN401 - any target
    """Refuse inputs that a Keras model or a SavedModel does not take, before the framework does.

    Args:
        name: of the target, in words.
        target: of any kind; of others than these nothing is known.
        inputs: like those to come.

    Raises:
        UsageError: with the names that it takes, and what was given.
    """
    if is_saved_model(target):
        target = target.signatures[SERVING]
    if is_keras_model(target):
        _check_model(name, target, inputs)
        return
    by_place, by_name = getattr(target, "structured_input_signature", None) or ((), {})
    if not by_name or by_place:
        return
    wanted = list(by_name)
    if isinstance(inputs, Mapping):
        fits = set(inputs) == set(wanted)
    else:
        fits = len(wanted) == 1 and not isinstance(inputs, list | tuple)
    if not fits:
        hint = "give a dict with these names" if len(wanted) > 1 else "give one array"
        raise _misfit(name, wanted, inputs, hint)


def _check_model(name: str, model: Any, inputs: Tree) -> None:  # noqa: ANN401 - of Keras
    tensors = getattr(model, "inputs", None) or ()
    struct = getattr(model, "_inputs_struct", tensors)
    names = [str(tensor.name) for tensor in tensors]
    if not names or any(map(_is_optional, tensors)):
        return
    keyed = list(map(str, struct)) if isinstance(struct, Mapping) else []
    if isinstance(inputs, Mapping):
        if len(names) > 1 or keyed:
            fits = set(names) <= set(inputs) or (bool(keyed) and set(keyed) <= set(inputs))
        else:
            fits = set(inputs) == set(names)
    elif isinstance(inputs, list | tuple):
        fits = not keyed and len(list(leaves(inputs))) == len(names)
    else:
        fits = len(names) == 1
    if fits:
        _check_shapes(name, dict(zip(keyed or names, tensors, strict=False)), inputs)
        return
    if keyed:
        hint = "give a dict with these names"
    elif len(names) > 1:
        hint = "give a tuple of as many arrays in this order, or a dict with these names"
    else:
        hint = "give one array"
    raise _misfit(name, keyed or names, inputs, hint)


def _check_shapes(name: str, tensors: Mapping[str, Any], inputs: Tree) -> None:
    if isinstance(inputs, Mapping):
        pairs = [(f" for {key}", tensors[key], inputs[key]) for key in tensors if key in inputs]
    else:
        given = [leaf for _, leaf in leaves(inputs)]
        words = [f" for {key}" if len(given) > 1 else "" for key in tensors]
        pairs = list(zip(words, tensors.values(), given, strict=False))
    for which, tensor, leaf in pairs:
        wanted, found = tuple(tensor.shape[1:]), tuple(getattr(leaf, "shape", ())[1:])
        known = (None not in {a, b} and a != b for a, b in zip(wanted, found, strict=False))
        # Of another rank Keras adds or removes an axis of one.
        if len(wanted) == len(found) and any(known):
            raise UsageError(
                f"{name} takes rows of shape {wanted}{which}; those of the data have shape {found}"
            )


def _is_optional(tensor: Any) -> bool:  # noqa: ANN401 - a symbolic tensor of Keras
    history = getattr(tensor, "_keras_history", None)
    return bool(getattr(getattr(history, "operation", None), "optional", False))


def _misfit(name: str, wanted: Sequence[str], inputs: Tree, hint: str) -> UsageError:
    if isinstance(inputs, Mapping):
        given = ", ".join(map(str, inputs)) or "none"
    elif isinstance(inputs, list | tuple):
        given = f"a {'list' if isinstance(inputs, list) else 'tuple'} of {len(inputs)}"
    else:
        given = "one array"
    taken = f"the inputs {', '.join(wanted)}" if len(wanted) > 1 else f"one input ({wanted[0]})"
    return UsageError(f"{name} takes {taken}; the data has {given}", hint)
