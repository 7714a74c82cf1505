"""What the workers of a duel import alike, so that a fork server can import it once for all.

Only modules that are installed count: in the interpreter's own folders, loaded in the ordinary way,
by both sides and from the same files. A module of either tree never is one, and neither is a plugin
of pytest, whose `assert` statements pytest rewrites while it imports it.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import sys
import sysconfig
import threading
from importlib.machinery import (
    BuiltinImporter,
    ExtensionFileLoader,
    FrozenImporter,
    SourceFileLoader,
    SourcelessFileLoader,
)
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.module_identity import is_below, real_file

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from types import ModuleType

_LOADERS: Final = (ExtensionFileLoader, SourceFileLoader, SourcelessFileLoader)
_WITHOUT_FILE: Final = (BuiltinImporter, FrozenImporter)
_FOLDERS: Final = ("stdlib", "platstdlib", "purelib", "platlib")
_OURS: Final = "pytest_dlperf"
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM)


def installed_modules(modules: Mapping[str, ModuleType], before: Collection[str]) -> dict[str, str]:
    """Modules that were imported since `before`, and their files; an empty file: not to be shared.

    In the order in which they were imported.
    """
    paths = sysconfig.get_paths()
    folders = [real_file(paths[name]) for name in _FOLDERS]
    return {
        name: _installed_file(name, module, folders)
        for name, module in tuple(modules.items())
        if name not in before
    }


def _installed_file(name: str, module: ModuleType, folders: Sequence[str]) -> str:
    spec = getattr(module, "__dict__", {}).get("__spec__")
    loader = getattr(spec, "loader", None)
    if spec is None or spec.name != name or name.partition(".")[0] == _OURS:
        return ""
    if type(loader) in _LOADERS and isinstance(spec.origin, str):
        file = real_file(spec.origin)
        return file if any(file.startswith(folder + os.sep) for folder in folders) else ""
    return "-" if loader in _WITHOUT_FILE else ""


def _was_found(name: str) -> bool:
    """Whether a module was imported, and not made by another one."""
    return getattr(sys.modules[name], "__spec__", None) is not None


def imported_alike(reports: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Of what workers report by `installed_modules`: what all have loaded from the same files."""
    first, *others = reports
    return {
        name: file
        for name, file in first.items()
        if file and all(report.get(name) == file for report in others)
    }


def import_ahead(modules: Mapping[str, str]) -> int | None:
    """Import modules, in this order, until one does more than being imported; returns its place.

    Such as starting a thread, setting a variable, or importing what is not among them.

    Args:
        modules: and their files.
    """
    before = _state_of_process()
    loaded = frozenset(sys.modules)
    for place, name in enumerate(modules):
        try:
            importlib.import_module(name)
        except BaseException:  # noqa: BLE001 - a module may raise anything, and may try to exit
            return place
        found = installed_modules(sys.modules, loaded).items()
        beside = [other for other, file in found if modules.get(other) != file]
        if _state_of_process() != before or any(map(_was_found, beside)):
            return place
        loaded = frozenset(sys.modules)
    return None


def _state_of_process() -> tuple[object, ...]:
    """What importing a module must leave as it is, since it would be the same in every fork."""
    numpy = sys.modules.get("numpy")
    drawn = numpy.random.get_state(legacy=False) if numpy is not None else {}
    return (
        threading.active_count(),
        len(os.listdir("/proc/self/task")),  # noqa: PTH208 - after each of many modules
        len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - as above
        os.getcwd(),  # noqa: PTH109 - as above
        dict(os.environ),
        tuple(sys.path),
        tuple(map(id, sys.meta_path)),
        tuple(signal.getsignal(number) for number in _SIGNALS),
        random.getstate(),
        str(drawn),
        (sys.stdout, sys.stderr, sys.excepthook, sys.gettrace(), sys.getprofile()),
    )


def unforkable(modules: Mapping[str, ModuleType], outside: str) -> str:
    """Why a fork of this process would not be as a new process; empty if it would."""
    for name, module in tuple(modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if name.partition(".")[0] == _OURS or not isinstance(file, str):
            continue
        if is_below(real_file(file), outside):
            return f"{name} is a module of the project"
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate()[1:])
        return f"importing has started threads: {names}"
    if sys.gettrace() is not None or sys.getprofile() is not None:
        return "Python code is traced or profiled"
    return f"importing has set up {device}" if (device := _device_of(modules)) else ""


def _device_of(modules: Mapping[str, ModuleType]) -> str:
    """A framework whose devices have been set up, which a fork cannot use."""
    context = getattr(modules.get("tensorflow.python.eager.context"), "_context", None)
    if context is not None and getattr(context, "_initialized", False):
        return "TensorFlow's devices"
    if getattr(modules.get("jax._src.xla_bridge"), "_backends", None):
        return "JAX's devices"
    cuda = modules.get("torch.cuda")
    if cuda is not None and cuda.is_initialized():
        return "PyTorch's CUDA devices"
    return ""
