"""What a function or a class reads beside its arguments, and what of it may be much.

A copy of a target leaves modules, classes and globals where they are: one that reads an array or a
model by the name of a global is no copy of its memory.
"""

from __future__ import annotations

import _thread
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

from pytest_dlperf.errors import OneLayoutError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ATOMS: Final = (
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
_GLOBALS: Final = frozenset(
    {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "IMPORT_NAME"}
)
_WRITES: Final = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
_NOT_OF_A_CALL: Final = frozenset(
    {"__init__", "__new__", "__post_init__", "__repr__", "__str__", "__del__", "__deepcopy__"}
)
_ELSEWHERE: Final = frozenset(
    {
        *("aiohttp", "boto3", "grpc", "http", "httpx", "multiprocessing", "ray", "requests"),
        *("socket", "subprocess", "tritonclient", "urllib", "urllib3"),
    }
)
"""Packages that ask another process, whose memory stays where it is."""

OTHER_PROCESS: Final = "it asks another process, whose memory stays where it is"

_STANDARD: Final = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_INSTALLED: Final = ("site-packages", "dist-packages")


class StaysCheck:
    """Refuses what stays where it is and may hold data that a call reads; looks at nothing twice.

    Objects that are looked at must live as long as this does.
    """

    def __init__(self) -> None:
        self._checked: set[int] = set()

    def check_globals(self, function: types.FunctionType) -> None:
        """Refuse a function that reads data by the name of a global."""
        if id(function.__code__) in self._checked or _installed(function.__code__.co_filename):
            return
        self._checked.add(id(function.__code__))
        for name, writes in _global_names(function.__code__):
            if asks_elsewhere(name) and name not in function.__globals__:
                raise OneLayoutError(f"{function.__qualname__} uses {name}: {OTHER_PROCESS}")
            if writes:
                raise OneLayoutError(f"{function.__qualname__} changes the global {name}")
            if name in function.__globals__:
                held = function.__globals__[name]
                self.check(held, f"{function.__qualname__} reads the global {name}")

    def check(self, value: Any, reads: str = "") -> None:  # noqa: ANN401
        """Refuse what stays where it is and may hold data that a call reads."""
        if isinstance(value, type):
            self._check_class(value)
            return
        if isinstance(value, types.ModuleType):
            if asks_elsewhere(value.__name__):
                raise OneLayoutError(f"{reads}: {OTHER_PROCESS}")
            if not is_installed(value.__name__):
                raise OneLayoutError(f"{reads}, a module of the project")
            return
        if id(value) in self._checked:
            return
        if isinstance(value, types.FunctionType):
            self.check_globals(value)
        self._checked.add(id(value))
        parts = _parts(value)
        if parts is None or len(self._checked) > _MOST_CHECKED:
            raise OneLayoutError(f"{reads}, which is not copied with it")
        for part in parts:
            self.check(part, reads)

    def _check_class(self, cls: type) -> None:
        """Refuse instances of a class of the project that keeps data in itself or in globals."""
        for base in cls.__mro__:
            if id(base) in self._checked or is_installed(base.__module__):
                continue
            self._checked.add(id(base))
            for name, held in vars(base).items():
                dunder = name.startswith("__") and not callable(held)
                if dunder or name in _NOT_OF_A_CALL or name == "_abc_impl":
                    continue
                for part in _inside(held):
                    self.check(part, f"{cls.__qualname__}.{name} is of the class")


def is_jitted(value: object) -> bool:
    """Whether this is a function of `jax.jit`, whose parameters are arguments of its calls."""
    return type(value).__name__ == "PjitFunction" and hasattr(value, "__wrapped__")


def is_known_by_name(value: Any) -> bool:  # noqa: ANN401
    """Whether this is a function of an installed package, of a type of its own as `np.take` is."""
    name, module = getattr(value, "__name__", None), getattr(value, "__module__", None)
    known = isinstance(name, str) and isinstance(module, str) and callable(value)
    if not known or hasattr(value, "cache_info") or not is_installed(str(module)):
        return False
    return getattr(sys.modules.get(str(module)), str(name), None) is value


def asks_elsewhere(module: str) -> bool:
    """Whether a module, by its name, asks other processes."""
    remote = module.startswith(f"{__name__.rpartition('.')[0]}.remote.")
    return remote or module.partition(".")[0] in _ELSEWHERE


def _global_names(code: types.CodeType) -> Iterator[tuple[str, bool]]:
    """Names of globals and modules that a function uses, and whether it writes them."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in _GLOBALS:
            yield str(instruction.argval), instruction.opname in _WRITES
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _global_names(inner)


def _parts(value: Any) -> Iterable[object] | None:  # noqa: ANN401
    """What a value that stays where it is reaches; None if it may hold much itself."""
    if is_jitted(value):
        return (value.__wrapped__,)
    if isinstance(value, types.FunctionType):
        return (*(value.__closure__ or ()), *(value.__defaults__ or ()))
    if isinstance(value, np.ndarray):
        return () if value.nbytes <= _SMALL_BYTES and not value.dtype.hasobject else None
    if isinstance(value, ATOMS) or is_known_by_name(value):
        return () if sys.getsizeof(value) <= _SMALL_BYTES else None
    module = type(value).__module__
    plain = module.partition(".")[0] in sys.stdlib_module_names or not is_installed(module)
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


def is_installed(module: str) -> bool:
    """Whether a module, by its name, is one of an installed package, ours included."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == __name__.partition(".")[0]:
        return True
    path = getattr(sys.modules.get(module), "__file__", None)
    return path is not None and _installed(path)
