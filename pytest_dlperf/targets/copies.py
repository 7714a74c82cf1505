"""Copies of targets in memory of their own, by which the pairs of a duel in one process differ.

The place of weights and tables in memory makes a target faster or slower for as long as it stays
there. A target is copied only if all that a call can read is copied with it: a function that reads
a global array, or a session of a runtime that cannot be made again, is refused.
"""

from __future__ import annotations

import _thread
import copy
import copyreg
import dis
import enum
import functools
import gc
import logging
import re
import sys
import sysconfig
import types
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.errors import OneLayoutError, in_a_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

_ATOMS: Final = (
    *(type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented)),
    *(range, slice, types.CodeType, types.ModuleType, type, enum.Enum, np.dtype, np.ufunc),
    *(np.generic, logging.Logger, re.Pattern, types.GetSetDescriptorType),
    *(types.MemberDescriptorType, types.WrapperDescriptorType, types.MethodDescriptorType),
    *(types.ClassMethodDescriptorType, types.GenericAlias, _thread.LockType, _thread.RLock),
)
"""Types whose values stay where they are: they hold nothing that a call reads much of."""

_SMALL_BYTES: Final = 4096
_MOST_CHECKED: Final = 1000
_HIDING: Final = frozenset({"_ctypes", "ctypes", "mmap", "multiprocessing.shared_memory"})
_GLOBALS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"})
_WRITES: Final = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
_NOT_OF_A_CALL: Final = frozenset(
    {"__init__", "__new__", "__post_init__", "__repr__", "__str__", "__del__", "__deepcopy__"}
)
_STANDARD: Final = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_INSTALLED: Final = ("site-packages", "dist-packages")


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
        self._checked: set[int] = set()

    def copy(self, value: Any) -> Any:  # noqa: ANN401 - of any type, and so is its copy
        if isinstance(value, type):
            self._check(value)
            return value
        if isinstance(value, _ATOMS):
            return value
        if id(value) not in self._memo:
            self._alive.append(value)
            made = self._copied(value)
            self._memo[id(value)] = made
        return self._memo[id(value)]

    def _copied(self, value: Any) -> Any:  # noqa: ANN401
        for kind, way in (*_of_frameworks(), *self._kinds()):
            if isinstance(value, kind):
                return way(value)
        if _is_jitted(value):
            self._check(value, "a function of jax.jit holds an array")
            return value
        if _is_known_by_name(value):
            return value
        if hasattr(type(value), "__deepcopy__"):
            made = copy.deepcopy(value, self._memo)
            if made is value and _is_installed(type(value).__module__):
                raise OneLayoutError(f"it holds {value!r:.60}, which cannot be copied")
            return made
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
        self._check_globals(function)
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

    def _rebuilt(self, value: Any) -> object:  # noqa: ANN401
        """As pickle would make it: list, tuple, dict and set, and instances of a class."""
        cls = type(value)
        if cls in {tuple, frozenset, list, set, dict}:
            return self._container(value)
        self._check(cls)
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

    def _check_globals(self, function: types.FunctionType) -> None:
        """Refuse a function that reads data by the name of a global."""
        if id(function.__code__) in self._checked or _installed(function.__code__.co_filename):
            return
        self._checked.add(id(function.__code__))
        for name, writes in _global_names(function.__code__):
            if writes:
                raise OneLayoutError(f"{function.__qualname__} changes the global {name}")
            if name in function.__globals__:
                held = function.__globals__[name]
                self._check(held, f"{function.__qualname__} reads the global {name}")

    def _check(self, value: Any, reads: str = "") -> None:  # noqa: ANN401
        """Refuse what stays where it is and may hold data that a call reads."""
        if isinstance(value, type):
            self._check_class(value)
            return
        if isinstance(value, types.ModuleType):
            if not _is_installed(value.__name__):
                raise OneLayoutError(f"{reads}, a module of the project")
            return
        if id(value) in self._checked:
            return
        if isinstance(value, types.FunctionType):
            self._check_globals(value)
        self._checked.add(id(value))
        parts = _parts(value)
        if parts is None or len(self._checked) > _MOST_CHECKED:
            raise OneLayoutError(f"{reads}, which is not copied with it")
        for part in parts:
            self._check(part, reads)

    def _check_class(self, cls: type) -> None:
        """Refuse instances of a class of the project that keeps data in itself or in globals."""
        for base in cls.__mro__:
            if id(base) in self._checked or _is_installed(base.__module__):
                continue
            self._checked.add(id(base))
            for name, held in vars(base).items():
                dunder = name.startswith("__") and not callable(held)
                if dunder or name in _NOT_OF_A_CALL or name == "_abc_impl":
                    continue
                for part in _inside(held):
                    self._check(part, f"{cls.__qualname__}.{name} is of the class")


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


def _is_jitted(value: object) -> bool:
    """Whether this is a function of `jax.jit`, whose parameters are arguments of its calls."""
    return type(value).__name__ == "PjitFunction" and hasattr(value, "__wrapped__")


def _is_known_by_name(value: Any) -> bool:  # noqa: ANN401
    """Whether this is a function of an installed package, of a type of its own as `np.take` is."""
    name, module = getattr(value, "__name__", None), getattr(value, "__module__", None)
    known = isinstance(name, str) and isinstance(module, str) and callable(value)
    if not known or hasattr(value, "cache_info") or not _is_installed(str(module)):
        return False
    return getattr(sys.modules.get(str(module)), str(name), None) is value


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


def _global_names(code: types.CodeType) -> Iterator[tuple[str, bool]]:
    """Names of globals that a function uses, and whether it writes them."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in _GLOBALS:
            yield str(instruction.argval), instruction.opname in _WRITES
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _global_names(inner)


def _parts(value: Any) -> Iterable[object] | None:  # noqa: ANN401
    """What a value that stays where it is reaches; None if it may hold much itself."""
    if _is_jitted(value):
        return (value.__wrapped__,)
    if isinstance(value, types.FunctionType):
        return (*(value.__closure__ or ()), *(value.__defaults__ or ()))
    if isinstance(value, np.ndarray):
        return () if value.nbytes <= _SMALL_BYTES and not value.dtype.hasobject else None
    if isinstance(value, _ATOMS) or _is_known_by_name(value):
        return () if sys.getsizeof(value) <= _SMALL_BYTES else None
    module = type(value).__module__
    plain = module.partition(".")[0] in sys.stdlib_module_names or not _is_installed(module)
    if not plain or module in _HIDING or isinstance(value, memoryview):
        return None  # what a type in C holds, Python cannot tell
    return gc.get_referents(value) if sys.getsizeof(value) <= _SMALL_BYTES else None


def _inside(held: object) -> Iterable[object]:
    """The functions in what a class has under a name, or that itself."""
    match held:
        case staticmethod() | classmethod():
            return (held.__func__,)
        case property():
            return filter(None, (held.fget,))
        case functools.cached_property():
            return (held.func,)
    return (held,)


def _installed(path: str) -> bool:
    """Whether code is of the standard library, an installed package, or made by one."""
    return path.startswith(("<frozen", "<string", *_STANDARD)) or any(
        part in path for part in _INSTALLED
    )


def _is_installed(module: str) -> bool:
    """Whether a module, by its name, is one of an installed package, ours included."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == __name__.partition(".")[0]:
        return True
    path = getattr(sys.modules.get(module), "__file__", None)
    return path is not None and _installed(path)
