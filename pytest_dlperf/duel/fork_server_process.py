"""The process of a fork server; see `fork_server` for its messages."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import threading
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.duel.channel import VARIABLE, Channel, connect_without_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence
    from types import ModuleType

    from _typeshed import StrOrBytesPath

_OURS: Final = "pytest_dlperf"
_WORKER: Final = f"{_OURS}.pytest_plugin.duel_worker"
_POLL_SECONDS: Final = 0.0005
_DESCRIPTORS: Final = 2
_GPUS: Final = ("CUDA_", "NVIDIA_", "NCCL_", "HIP_", "ROCR_")
_THREADS: Final = ("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "BLIS_", "LD_", "MALLOC_")
READ_AT_IMPORT: Final = MappingProxyType(
    {
        "numpy": (*_THREADS, "NPY_", "NUMPY_"),
        "scipy": ("SCIPY_",),
        "sklearn": ("SKLEARN_",),
        "tensorflow": (*_GPUS, "TF_", "XLA_", "ONEDNN_", "DNNL_"),
        "keras": ("KERAS_",),
        "torch": (*_GPUS, "TORCH", "PYTORCH_", "TRITON_", "ONEDNN_", "DNNL_"),
        "jax": (*_GPUS, "JAX_", "XLA_"),
    }
)
"""What is worth importing once -> how the names of variables begin that it may read then."""
_READ_LATER: Final = frozenset({"TF_CPP_MIN_LOG_LEVEL", "TF_FORCE_GPU_ALLOW_GROWTH"})


def main() -> None:
    """Serve until the controller closes the channel; in each fork, run a worker."""
    path = sys.path[:]
    channel = connect_without_thread()
    try:
        fields = channel.receive().fields
        why = prepare(fields["modules"], fields["outside"])
        channel.send({"is": "refused", "why": why} if why else {"is": "ready"})
        while not _forked(channel, channel.receive().fields, path):
            pass
    except ConnectionError:
        return
    importlib.import_module(_WORKER).main_of_fork()


def prepare(modules: Sequence[str], outside: str) -> str:
    """Import modules that are installed; returns why no worker can be forked now, or nothing."""
    for name in (*modules, _WORKER):
        try:
            importlib.import_module(name)
        except ImportError as error:
            if name in sys.modules or getattr(error, "name", None) != name:
                return f"{name} cannot be imported: {error}"
        except Exception as error:  # noqa: BLE001 - a module may raise anything
            return f"{name} cannot be imported: {type(error).__name__}: {error}"
    why = unforkable(sys.modules, outside)
    # What is there now is never collected, so that collecting garbage does not copy its pages.
    gc.collect()
    gc.freeze()
    return why


def unforkable(modules: Mapping[str, ModuleType], outside: str) -> str:
    """Why a fork of this process would not be as a new process; empty if it would."""
    for name, module in tuple(modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if name.partition(".")[0] == _OURS or not isinstance(file, str):
            continue
        if os.path.realpath(file).startswith(outside + os.sep):
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


def _forked(channel: Channel, fields: Mapping[str, Any], path: Sequence[str]) -> bool:
    """Fork a worker; true in the worker, which is set up as a new process would be."""
    channel.send({"is": "listening"})
    ends, log = channel.receive_descriptors(_DESCRIPTORS)
    read, write = os.pipe()
    middle = os.fork()
    if middle:
        os.close(ends)
        os.close(log)
        os.close(write)
        with os.fdopen(read) as pipe:
            pid = pipe.read()
        os.waitpid(middle, 0)
        if not pid:
            os._exit(1)  # the controller is gone
        channel.send({"is": "forked", "pid": int(pid)})
        return False
    os.close(read)
    middle = os.getpid()
    if os.fork():
        os._exit(0)
    os.setsid()
    while os.getppid() == middle:  # the kernel gives this one to the controller when it has ended
        time.sleep(_POLL_SECONDS)
    if os.getppid() != fields["controller"]:
        os._exit(1)
    os.write(write, str(os.getpid()).encode())
    os.close(write)
    channel.close()
    _become(fields, ends, log, path)
    return True


def _become(fields: Mapping[str, Any], channel: int, log: int, path: Sequence[str]) -> None:
    """Take the environment, folder, module path and files of a worker."""
    empty = os.open(os.devnull, os.O_RDONLY)
    for descriptor, place in ((empty, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, place)
    os.close(empty)
    os.close(log)
    shared = _module_path()
    os.environ.clear()
    os.environ.update(fields["variables"])
    os.chdir(fields["folder"])
    sys.path[:] = [*_module_path(), *(entry for entry in path if entry not in shared)]
    sys.path_importer_cache.clear()
    os.environ[VARIABLE] = f"{channel}:{fields['controller']}"
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()  # its global generator was seeded when it was imported


class EnvironmentWatch:
    """Notices, in a fork, variables that a framework would have read when it was imported.

    Args:
        modules: that were imported before.
        on_change: takes the name of a variable whose value changes, in the main thread.
    """

    def __init__(self, modules: Iterable[str], on_change: Callable[[str], None]) -> None:
        self._modules = frozenset(modules)
        self._on_change = on_change
        self._before = os.putenv, os.unsetenv
        put, unset = self._before

        def putenv(name: StrOrBytesPath, value: StrOrBytesPath, /) -> None:
            self._look(os.fsencode(name), os.fsencode(value))
            put(name, value)

        def unsetenv(name: StrOrBytesPath, /) -> None:
            self._look(os.fsencode(name), None)
            unset(name)

        os.putenv, os.unsetenv = putenv, unsetenv  # by which `os.environ` changes a variable

    def end(self) -> None:
        """Notice no more."""
        os.putenv, os.unsetenv = self._before

    def _look(self, key: bytes, value: bytes | None) -> None:
        name = os.fsdecode(key)
        if not is_read_at_import(name, self._modules) or os.environb.get(key) == value:
            return
        if threading.current_thread() is threading.main_thread():
            self._on_change(name)


def is_read_at_import(variable: str, modules: Container[str]) -> bool:
    """Whether a framework among the imported modules may have read a variable at its import."""
    return variable not in _READ_LATER and any(
        name in modules and variable.startswith(begins) for name, begins in READ_AT_IMPORT.items()
    )


def _module_path() -> list[str]:
    """The entries of PYTHONPATH, as Python puts them into `sys.path` at its start."""
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [os.path.abspath(entry) for entry in entries if entry]  # noqa: PTH100 - as `site` does
