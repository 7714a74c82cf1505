"""The process of a fork server; see `fork_server` for its messages."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import mmap
import os
import secrets
import signal
import sys
import threading
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from pytest_dlperf.duel.channel import VARIABLE, Channel, connect_without_thread
from pytest_dlperf.duel.shared_imports import (
    import_ahead,
    imported_alike,
    installed_modules,
    unforkable,
)

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Container,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from types import FrameType

    from _typeshed import StrOrBytesPath

_WORKER: Final = "pytest_dlperf.pytest_plugin.duel_worker"
_MEASURING: Final = "pytest_dlperf.pytest_plugin.dlperf"
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
_OF_PYTEST: Final = "PYTEST_"
_REPORTS: Final = 2  # one of each side
_PR_SET_PDEATHSIG: Final = 1
_COMPLETE: Final = b"\n"
_SERVES: Final = "serves"
_SHIFTS: Final = 64
_SHIFT_BYTES: Final = 4096
_SHIFTED: Final[list[object]] = []


def main() -> None:
    """Serve until the controller closes the channel; in each fork, run a worker."""
    path = sys.path[:]
    channel = connect_without_thread()
    try:
        fields = channel.receive().fields
        before = dict(os.environ)
        why = prepare(fields["modules"], fields["outside"])
        channel.send({"is": "refused", "why": why} if why else {"is": "ready"})
        server = Forks(channel, path, _changes(before, os.environ), fields["outside"])
        report = server.serve()
    except ConnectionError:
        return
    importlib.import_module(_WORKER).main_of_fork(report)
    _end()


def _end() -> NoReturn:
    """End this process as Python does, but for taking apart what the kernel frees at once.

    With a framework loaded that takes more than a second of a processor.
    """
    # Waits for threads, as the interpreter does.
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - no public name
    atexit._run_exitfuncs()  # noqa: SLF001 - likewise
    _flush()
    os._exit(0)


def prepare(modules: Sequence[str], outside: str) -> str:
    """Import modules that are installed; returns why no worker can be forked now, or nothing."""
    with _kept():
        for name in (*modules, _WORKER, _MEASURING):
            try:
                importlib.import_module(name)
            except ImportError as error:
                if name in sys.modules or getattr(error, "name", None) != name:
                    return f"{name} cannot be imported: {error}"
            except Exception as error:  # noqa: BLE001 - a module may raise anything
                return f"{name} cannot be imported: {type(error).__name__}: {error}"
    return unforkable(sys.modules, outside)


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """Collect garbage once and never look at the rest again.

    Collecting takes a fifth of an import, and copies the pages that forks share.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    """Variables that have another value after, or none any more."""
    names = before.keys() | after.keys()
    return {name: after.get(name) for name in names if after.get(name) != before.get(name)}


class Forks:
    """Forks workers; what the first of them import alike is imported once for the later ones.

    Args:
        channel: to the controller.
        path: the module path of a new process.
        changes: variables that importing has set or removed.
        outside: the folder of which no file may be imported.
    """

    def __init__(
        self, channel: Channel, path: Sequence[str], changes: Mapping[str, str | None], outside: str
    ) -> None:
        self._channel = channel
        self._path = path
        self._changes = changes
        self._outside = outside
        self._reports: list[int] = []
        self._is_learning = True

    def serve(self) -> ImportReport:
        """Fork whenever the controller asks for it; returns in the workers.

        Raises:
            ConnectionError: if the controller is gone.
        """
        while True:
            fields = self._channel.receive().fields
            self._import_reported()
            report = os.memfd_create("dlperf-imports")
            if self._forked(fields):
                for descriptor in self._reports:
                    os.close(descriptor)
                return ImportReport(report, frozenset(sys.modules))
            self._reports.append(report)

    def _import_reported(self) -> None:
        """Import what workers of both sides have imported, if they report it for the first time."""
        texts = [os.pread(each, os.fstat(each).st_size, 0) for each in self._reports]
        reports = [json.loads(text) for text in texts if text.endswith(_COMPLETE)]
        if not self._is_learning or len(reports) < _REPORTS:
            return
        self._is_learning = False
        for descriptor in self._reports:
            os.close(descriptor)
        self._reports.clear()
        self._go_on_with(imported_alike(reports))

    def _go_on_with(self, modules: dict[str, str]) -> None:
        """Import modules in a fork, which serves from now on; without those that do more than that.

        This process goes on only if the fork finds such a module, or dies of one.
        """
        while modules:
            read, write = os.pipe()
            server, fork = os.getpid(), os.fork()
            if not fork:
                os.close(read)
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != server:
                    os._exit(1)
                with _kept():
                    place = import_ahead(modules)
                if place is None and not unforkable(sys.modules, self._outside):
                    os.write(write, _SERVES.encode())
                    os.close(write)
                    return
                os.write(write, str(place or 0).encode())
                os._exit(0)
            os.close(write)
            with os.fdopen(read) as pipe:
                answer = pipe.read()
            os.waitpid(fork, 0)
            if not answer.isdecimal():
                if answer == _SERVES:
                    os._exit(0)  # the controller is gone, or the fork was killed
                return
            names = list(modules)
            before, (bad, *after) = names[: int(answer)], names[int(answer) :]
            import_ahead({name: modules[name] for name in before})
            kept = (name for name in after if not name.startswith(f"{bad}."))
            modules = {name: modules[name] for name in kept}

    def _forked(self, fields: Mapping[str, Any]) -> bool:
        """Fork a worker; true in the worker, which is set up as a new process would be."""
        self._channel.send({"is": "listening"})
        ends, log = self._channel.receive_descriptors(_DESCRIPTORS)
        _flush()
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
            self._channel.send({"is": "forked", "pid": int(pid)})
            return False
        os.close(read)
        middle = os.getpid()
        if os.fork():
            os._exit(0)
        os.setsid()
        while os.getppid() == middle:  # the kernel gives this to the controller when it has ended
            time.sleep(_POLL_SECONDS)
        if os.getppid() != fields["controller"]:
            os._exit(1)
        os.write(write, str(os.getpid()).encode())
        os.close(write)
        self._channel.close()
        variables = fields["variables"] | self._changes
        _take_files(ends, log)
        _take_place(variables, fields["folder"], self._path)
        os.environ[VARIABLE] = f"{ends}:{fields['controller']}"
        _renew_secrets()
        _shift_memory()
        return True


def _flush() -> None:
    """Write out what is buffered, which each fork would write again."""
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)


def _take_files(channel: int, log: int) -> None:
    empty = os.open(os.devnull, os.O_RDONLY)
    for descriptor, place in ((empty, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, place)
    os.close(empty)
    os.close(log)
    os.set_inheritable(channel, False)  # noqa: FBT003 - the standard library's signature


def _take_place(variables: Mapping[str, str | None], folder: str, path: Sequence[str]) -> None:
    """Take environment variables, working directory and module path."""
    shared = _module_path()
    os.environ.clear()
    os.environ.update((name, value) for name, value in variables.items() if value is not None)
    os.chdir(folder)
    sys.path[:] = [*_module_path(), *(entry for entry in path if entry not in shared)]
    sys.path_importer_cache.clear()


def _renew_secrets() -> None:
    """Draw anew what modules have drawn when they were imported."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
    processes: Any = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes.current_process().authkey = os.urandom(32)


def _shift_memory() -> None:
    """Move what is allocated from now on, as the kernel does for a new process.

    Else an accident of addresses would be the same in all pairs, and count as a difference of code.
    """
    sizes = [secrets.randbelow(_SHIFT_BYTES) for _ in range(secrets.randbelow(_SHIFTS))]
    _SHIFTED.append(mmap.mmap(-1, _SHIFT_BYTES * (1 + secrets.randbelow(_SHIFTS))))
    _SHIFTED.extend(map(bytearray, sizes))


class ImportReport:
    """Tells the fork server, from a worker, what that has imported until its first measurement.

    Args:
        descriptor: of an unnamed file that the server reads.
        before: names of the modules that the server had imported.
    """

    def __init__(self, descriptor: int, before: Collection[str]) -> None:
        self._descriptor = descriptor
        self._before = before
        self._is_written = False

    def write(self, changed: Collection[str]) -> None:
        """Report once; nothing if environment variables were changed, which modules may read."""
        if self._is_written:
            return
        self._is_written = True
        modules = {} if changed else installed_modules(sys.modules, self._before)
        os.write(self._descriptor, json.dumps(modules).encode() + _COMPLETE)
        os.close(self._descriptor)


class EnvironmentWatch:
    """Notices, in a fork, variables that a framework would have read when it was imported.

    Args:
        modules: that were imported before.
        on_change: takes the name of a variable whose value changes, in the main thread.

    Attributes:
        changed: names of all variables whose values have changed.
    """

    def __init__(self, modules: Iterable[str], on_change: Callable[[str], None]) -> None:
        self.changed: set[str] = set()
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
        if os.environb.get(key) == value or name in _READ_LATER or name.startswith(_OF_PYTEST):
            return
        self.changed.add(name)
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and is_read_at_import(name, self._modules) and not _is_of_a_framework():
            self._on_change(name)


def _is_of_a_framework() -> bool:
    """Whether the caller is called while a framework is imported, which sets it for itself.

    As scikit-learn does, which Keras imports if it is there; so it would be in a new process.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - its documented name
    while frame is not None:
        module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if frame.f_code.co_name == "<module>" and module in READ_AT_IMPORT:
            return True
        frame = frame.f_back
    return False


def is_read_at_import(variable: str, modules: Container[str]) -> bool:
    """Whether a framework among the imported modules may have read a variable at its import."""
    return variable not in _READ_LATER and any(
        name in modules and variable.startswith(begins) for name, begins in READ_AT_IMPORT.items()
    )


def _module_path() -> list[str]:
    """The entries of PYTHONPATH, as Python puts them into `sys.path` at its start."""
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [os.path.abspath(entry) for entry in entries if entry]  # noqa: PTH100 - as `site` does
