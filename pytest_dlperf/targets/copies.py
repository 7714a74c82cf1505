"""Copies of targets in memory of their own, by which the pairs of a duel in one process differ.

The place of weights and tables in memory makes a target faster or slower for as long as it stays
there. A target is copied only if all that a call can read is copied with it: a function that reads
a global array, or a session of a runtime that cannot be made again, is refused.
"""

from __future__ import annotations

import copy
import copyreg
import functools
import sys
import types
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_dlperf.errors import OneLayoutError, in_a_line
from pytest_dlperf.targets.reads import (
    ATOMS,
    OTHER_PROCESS,
    StaysCheck,
    asks_elsewhere,
    is_installed,
    is_jitted,
    is_known_by_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray


def placed_anew(target: object) -> object:
    """A copy of a target that shares no weights, tables or other arrays with it.

    The caller checks that it answers as the target does.

    Raises:
        OneLayoutError: if something that a call may read cannot be copied.
    """
    try:
        return _Copier().copy(target)
    except OneLayoutError:
        raise
    except MemoryError:
        raise OneLayoutError("there is too little memory for a copy of it") from None
    except Exception as error:  # the target's own code may raise anything
        raise OneLayoutError(f"it cannot be copied ({in_a_line(error)})") from error


class _Copier:
    """Copies one tree of objects; what stands in it twice is copied once.

    `copy.deepcopy` with ways of its own for functions, which it leaves as they are, for arrays,
    whose steps it changes, and for models.
    """

    def __init__(self) -> None:
        self._memo: dict[int, Any] = {}
        self._alive: list[object] = []  # so that no `id` is given to another object
        self._stays = StaysCheck()

    def copy(self, value: Any) -> Any:  # noqa: ANN401 - of any type, and so is its copy
        if isinstance(value, type):
            self._stays.check(value)
            return value
        if isinstance(value, ATOMS):
            return value
        if id(value) not in self._memo:
            self._alive.append(value)
            made = self._copied(value)
            self._memo[id(value)] = made
        return self._memo[id(value)]

    def _copied(self, value: Any) -> Any:  # noqa: ANN401
        if asks_elsewhere(type(value).__module__):
            raise OneLayoutError(OTHER_PROCESS)
        for kind, way in (*_of_frameworks(), *self._kinds()):
            if isinstance(value, kind):
                return way(value)
        if is_jitted(value):
            self._stays.check(value, "a function of jax.jit holds an array")
            return value
        if is_known_by_name(value):
            return value
        if hasattr(type(value), "__deepcopy__"):
            return self._in_its_own_way(value)
        return self._rebuilt(value)

    def _kinds(self) -> Iterator[tuple[type | tuple[type, ...], Callable[[Any], Any]]]:
        yield np.memmap, _refuse_memmap
        yield np.ndarray, self._array
        yield types.FunctionType, self._function
        yield types.MethodType, self._method
        yield (types.BuiltinMethodType, types.MethodWrapperType), self._bound
        yield functools.partial, self._partial
        yield types.CellType, self._cell

    def _array(self, array: NDArray[Any]) -> NDArray[Any]:
        if array.dtype.hasobject or type(array) is not np.ndarray:
            made: NDArray[Any] = copy.deepcopy(array, self._memo)
            return made
        return same_steps(array)

    def _function(self, function: types.FunctionType) -> types.FunctionType:
        self._stays.check_globals(function)
        cells = function.__closure__
        made = types.FunctionType(
            function.__code__.replace(),
            function.__globals__,
            function.__name__,
            None,
            tuple(map(self.copy, cells)) if cells is not None else None,
        )
        self._memo[id(function)] = made
        made.__defaults__ = self.copy(function.__defaults__)
        made.__kwdefaults__ = self.copy(function.__kwdefaults__)
        made.__qualname__, made.__module__ = function.__qualname__, function.__module__
        made.__dict__.update({name: self.copy(each) for name, each in vars(function).items()})
        return made

    def _cell(self, cell: types.CellType) -> types.CellType:
        made = types.CellType()
        self._memo[id(cell)] = made  # a function may be in a cell of its own
        try:
            content = cell.cell_contents
        except ValueError:
            return made
        made.cell_contents = self.copy(content)
        return made

    def _method(self, method: types.MethodType) -> object:
        return types.MethodType(self.copy(method.__func__), self.copy(method.__self__))

    def _bound(self, method: Any) -> object:  # noqa: ANN401 - a method of a type in C
        owner = method.__self__
        if owner is None or isinstance(owner, types.ModuleType | type):
            return method
        return getattr(self.copy(owner), method.__name__)

    def _partial(self, partial: functools.partial[Any]) -> object:
        made = type(partial)(
            self.copy(partial.func),
            *map(self.copy, partial.args),
            **{name: self.copy(value) for name, value in partial.keywords.items()},
        )
        made.__dict__.update(self.copy(vars(partial)))
        return made

    def _in_its_own_way(self, value: Any) -> object:  # noqa: ANN401
        """As its `__deepcopy__` makes it, unless that leaves data where it is."""
        cls = type(value)
        self._stays.check(cls)
        made = copy.deepcopy(value, self._memo)
        if is_installed(cls.__module__):
            if made is value:
                raise OneLayoutError(f"it holds {value!r:.60}, which cannot be copied")
            return made
        held, kept = getattr(value, "__dict__", {}), getattr(made, "__dict__", {})
        for name, each in held.items():
            if kept.get(name) is each:
                self._stays.check(each, f"{cls.__qualname__}.__deepcopy__ shares {name}")
        return made

    def _rebuilt(self, value: Any) -> object:  # noqa: ANN401
        """As pickle would make it: list, tuple, dict and set, and instances of a class."""
        cls = type(value)
        if cls in {tuple, frozenset, list, set, dict}:
            return self._container(value)
        self._stays.check(cls)
        reduced = value.__reduce_ex__(4)
        if isinstance(reduced, str):
            raise OneLayoutError(f"it holds {value!r:.60}, which cannot be copied")
        make, arguments, state, items, pairs = (*reduced, *[None] * 5)[:5]
        if make is copyreg.__newobj_ex__:  # type: ignore[attr-defined]  # of the standard library
            of, plain, named = arguments
            made = of.__new__(of, *map(self.copy, plain), **self.copy(named))
        else:
            made = make(*map(self.copy, arguments))
        self._memo[id(value)] = made
        if state is not None:
            _set_state(made, self.copy(state))
        for item in items or ():
            made.append(self.copy(item))
        for key, item in pairs or ():
            made[self.copy(key)] = self.copy(item)
        return made

    def _container(self, value: Any) -> object:  # noqa: ANN401
        made: Any = []
        match value:
            case list():
                self._memo[id(value)] = made  # a list may hold itself
                made.extend(map(self.copy, value))
            case dict():
                made = self._memo[id(value)] = {}
                made.update({self.copy(key): self.copy(item) for key, item in value.items()})
            case _:
                made = type(value)(map(self.copy, value))
        return made


def same_steps(array: NDArray[Any]) -> NDArray[Any]:
    """A copy of an array of numbers with its steps, gaps included, and its flags."""
    made: NDArray[Any]
    if array.flags.c_contiguous or array.flags.f_contiguous or not array.size:
        made = array.copy(order="K")
    else:
        spans = [step * (n - 1) for step, n in zip(array.strides, array.shape, strict=True)]
        before = -sum(span for span in spans if span < 0)
        length = before + sum(span for span in spans if span > 0) + array.itemsize
        buffer = np.zeros(length, np.uint8)
        made = np.ndarray(array.shape, array.dtype, buffer, before, array.strides)
        made[...] = array
    made.flags.writeable = array.flags.writeable
    return made


def _refuse_memmap(array: object) -> object:
    del array
    raise OneLayoutError("it reads a file that is mapped into memory")


def _of_frameworks() -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    """Kinds of frameworks that are imported, each with its way to be copied."""
    modules = sys.modules
    if (keras := modules.get("keras")) and hasattr(keras, "layers"):
        from pytest_dlperf.targets.keras_models import layer_placed_anew

        yield keras.layers.Layer, layer_placed_anew
    if (tensorflow := modules.get("tensorflow")) and hasattr(tensorflow, "types"):
        kinds = tensorflow.types.experimental
        yield (kinds.PolymorphicFunction, kinds.ConcreteFunction), _refuse_function
        yield tensorflow.Tensor, lambda tensor: tensorflow.constant(np.array(tensor.numpy()))
    if (jax := modules.get("jax")) and hasattr(jax, "Array"):
        yield jax.Array, lambda array: jax.numpy.array(array, copy=True)
    if (runtime := modules.get("onnxruntime")) and hasattr(runtime, "InferenceSession"):
        yield runtime.InferenceSession, _session


def _refuse_function(function: object) -> object:
    name = getattr(function, "name", None) or getattr(function, "__name__", "")
    raise OneLayoutError(f"the variables of the tf.function {name} cannot be copied".rstrip())


def _session(session: Any) -> object:  # noqa: ANN401 - onnxruntime has no types
    # Its own fields: the session tells neither its model nor its options.
    model = session._model_bytes or session._model_path  # noqa: SLF001
    if isinstance(model, bytes):
        model = bytes(bytearray(model))
    providers = list(session.get_provider_options().items())
    return type(session)(model, session._sess_options, providers=providers)  # noqa: SLF001


def _set_state(made: Any, state: Any) -> None:  # noqa: ANN401 - an object and its state
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
        return
    slots = None
    if isinstance(state, tuple) and len(state) == 2:  # noqa: PLR2004 - `__dict__` and slots
        state, slots = state
    if state:
        made.__dict__.update(state)
    for name, value in (slots or {}).items():
        object.__setattr__(made, name, value)
