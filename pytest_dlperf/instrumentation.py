"""Tracers, profilers and debuggers: what of them can be suspended, and what cannot.

Each slows Python code down, but not compiled code, so a figure that one of them saw is that of
another program.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
import time
import tracemalloc
from dataclasses import dataclass
from types import FunctionType, MappingProxyType, MethodType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Hook: TypeAlias = Callable[..., object]

_TOOLS: Final = range(6)  # of `sys.monitoring`; two more are sys.settrace and sys.setprofile
_PAIRS: Final = (("disable", "enable"), ("pause", "resume"))
"""Methods of profilers that are written in C, whose function `sys.setprofile` cannot set again."""
_KNOWN: Final = MappingProxyType({"pdb": "pdb", "bdb": "bdb", "_lsprof": "cProfile"})
"""Modules of base classes, and what users call the tools that are made of them."""
_ALLOCATORS: Final = frozenset({"", "default", "pymalloc"})
"""Values of PYTHONMALLOC that stand for the allocators that Python uses without it."""
_BUSY: Final = 0.01  # share of the time, from which on a traced thread may slow a target down
_SHORTEST_NS: Final = 2_000_000
_OF_A_THREAD: Final = 6  # Linux: the clock of one thread, of the time that it was scheduled
_DEBUGGING: Final = (
    *("PYTHONASYNCIODEBUG", "PYTHONPROFILEIMPORTTIME"),
    *("CUDA_LAUNCH_BLOCKING", "JAX_DISABLE_JIT", "JAX_DEBUG_NANS"),
)
"""Variables that make Python or a framework slower, so that errors are found."""


class Monitoring(Protocol):
    """The part of `sys.monitoring`, of Python 3.12 and later, that is used."""

    events: object
    """A name for each event, whose value is one bit."""

    def get_tool(self, tool_id: int, /) -> str | None: ...  # noqa: D102 - Python documents it

    def get_events(self, tool_id: int, /) -> int: ...  # noqa: D102 - Python documents it

    def set_events(self, tool_id: int, event_set: int, /) -> None: ...  # noqa: D102 - Python documents it

    def register_callback(  # noqa: D102 - Python documents it
        self, tool_id: int, event: int, func: Hook | None, /
    ) -> Hook | None: ...

    def restart_events(self) -> None: ...  # noqa: D102 - Python documents it


def python_monitoring() -> Monitoring | None:
    """`sys.monitoring`; None before Python 3.12."""
    monitoring: Monitoring | None = getattr(sys, "monitoring", None)
    return monitoring


@dataclass(frozen=True, slots=True)
class _Suspended:
    """What was suspended: its name, and what makes it as it was."""

    name: str
    restore: Callable[[], object]


class Instrumentation:
    """Suspends tracers, profilers and debuggers, and restores them exactly.

    Args:
        monitoring: `sys.monitoring`, None where there is none.
    """

    def __init__(self, monitoring: Monitoring | None = None) -> None:
        self._monitoring = monitoring or python_monitoring()
        self._names: tuple[str, ...] = ()
        self.left = ""
        """Tracers that worked on during the last block, in threads that had begun before it."""

    @contextlib.contextmanager
    def suspended(self) -> Iterator[str]:
        """Run the block without them in this thread, and in all threads that it starts.

        Yields:
            A note on what is suspended, by this block or by one around it; may be empty.
        """
        outer = self._names
        stopped: list[_Suspended] = []
        trace = sys.gettrace()
        threads = _TracedThreads()
        # The block's own events last, so that a tracer sees its frames begin and end in pairs.
        try:
            stopped += _without_hooks_of_threads()
            if self._monitoring is not None:
                stopped += _without_tools(self._monitoring)
            stopped += _without_gc_debugging()
            stopped += _without_profiler()
            names = [*outer, *([name_of(trace)] if trace else []), *(each.name for each in stopped)]
            self._names = tuple(dict.fromkeys(filter(None, names)))
            if trace is not None:
                sys.settrace(None)
            yield suspension_note(self._names)
        finally:
            self._names = outer
            self.left = threads.busy()
            for each in reversed(stopped):
                each.restore()
            if trace is not None:
                sys.settrace(trace)
                if not isinstance(trace, FunctionType | MethodType):
                    # Coverage's tracer in C takes over at the next call. It must see this function
                    # end, since it has seen it begin, or it would take the caller's lines for ours.
                    _call_nothing()


def _call_nothing() -> None:
    """Do nothing, in a frame of its own."""


def suspension_note(names: tuple[str, ...]) -> str:
    """Says that these were suspended; empty if there are none."""
    if not names:
        return ""
    *others, last = names
    listed = f"{', '.join(others)} and {last}" if others else last
    return f"{listed} {'were' if others else 'was'} suspended while measuring"


def lasting_instrumentation(variables: Mapping[str, str] = os.environ) -> str:
    """What slows Python code down and cannot be suspended, in a stable order; empty if nothing."""
    found = []
    if hasattr(sys, "gettotalrefcount"):
        found.append("a debug build of Python")
    if sys.flags.dev_mode:
        found.append("python -X dev")
    if "importtime" in sys._xoptions:  # noqa: SLF001 - documented, as is its name
        found.append("python -X importtime")
    if tracemalloc.is_tracing():
        found.append("tracemalloc")
    if not sys.flags.ignore_environment:
        malloc = variables.get("PYTHONMALLOC", "")
        found += [f"PYTHONMALLOC={malloc}"] if malloc not in _ALLOCATORS else []
        found += [f"{name}={variables[name]}" for name in _DEBUGGING if variables.get(name)]
    profiler = sys.getprofile()
    if profiler is not None and not _can_be_suspended(profiler):
        found.append(f"the profiler {name_of(profiler)}")
    return ", ".join(found)


def name_of(hook: object) -> str:
    """The package of a tracer or a profiler, as its users know it."""
    owner = getattr(hook, "__self__", None)
    kind = hook if isinstance(hook, FunctionType) else type(hook if owner is None else owner)
    # pdb's classes are wrapped by pytest, and cProfile is `__main__` where it runs the tests.
    bases = {base.__module__ for base in getattr(kind, "__mro__", ())}
    known = next((name for module, name in _KNOWN.items() if module in bases), "")
    module: str = getattr(kind, "__module__", None) or "__main__"
    package = module.partition(".")[0]
    return known or (kind.__qualname__ if package in {"__main__", "builtins"} else package)


class _TracedThreads:
    """Other threads that are traced: only they themselves could change that."""

    def __init__(self) -> None:
        self._began_ns = time.monotonic_ns()
        self._threads = [
            (thread, name_of(hook), _processor_ns(thread))
            for thread in threading.enumerate()
            if (hook := _hook_of(thread)) is not None
        ]

    def busy(self) -> str:
        """Those that have worked since, for a hundredth of the time or more; empty if none."""
        least_ns = max(_SHORTEST_NS, _BUSY * (time.monotonic_ns() - self._began_ns))
        return ", ".join(
            f"{hook} in the thread {thread.name}"
            for thread, hook, before_ns in self._threads
            if _processor_ns(thread) - before_ns > least_ns
        )


def _hook_of(thread: threading.Thread) -> object:
    """The trace function that another thread has given one of its frames; None without one."""
    if thread is threading.current_thread():
        return None
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - documented
    while frame is not None:
        if frame.f_trace is not None:
            return frame.f_trace
        frame = frame.f_back
    return None


def _processor_ns(thread: threading.Thread) -> int:
    """A thread's processor time; 0 if it has ended."""
    # As pthread_getcpuclockid makes it, which crashes for a thread that ends meanwhile.
    clock = ~(thread.native_id or 0) << 3 | _OF_A_THREAD
    try:
        return time.clock_gettime_ns(clock)
    except OSError:
        return 0


def _without_hooks_of_threads() -> Iterator[_Suspended]:
    """Threads that begin from now on are neither traced nor profiled."""
    trace, profile = threading.gettrace(), threading.getprofile()
    if trace is not None:
        threading.settrace(None)
        yield _Suspended(name_of(trace), lambda: threading.settrace(trace))
    if profile is not None:
        threading.setprofile(None)
        yield _Suspended(name_of(profile), lambda: threading.setprofile(profile))


def _without_profiler() -> Iterator[_Suspended]:
    """This thread is not profiled."""
    profiler = sys.getprofile()
    if profiler is None:
        return
    stop, start = _methods_of(profiler)
    if stop is not None and start is not None:
        stop()
        yield _Suspended(name_of(profiler), start)
    elif callable(profiler):
        sys.setprofile(None)
        yield _Suspended(name_of(profiler), lambda: sys.setprofile(profiler))


def _can_be_suspended(profiler: object) -> bool:
    return callable(profiler) or None not in _methods_of(profiler)


def _methods_of(profiler: object) -> tuple[Hook | None, Hook | None]:
    for stop, start in _PAIRS:
        if hasattr(profiler, stop) and hasattr(profiler, start):
            return getattr(profiler, stop), getattr(profiler, start)
    return None, None


def _without_gc_debugging() -> Iterator[_Suspended]:
    flags = gc.get_debug()
    if flags:
        gc.set_debug(0)
        yield _Suspended("gc.set_debug", lambda: gc.set_debug(flags))


def _without_tools(monitoring: Monitoring) -> Iterator[_Suspended]:
    """No tool of `sys.monitoring` gets an event.

    Events that a tool has set for one code object cannot be found, and so not be switched off. But
    without a callback an event is disabled where it first happens, and costs no more there.
    """
    bits = _events(monitoring)
    for tool in _TOOLS:
        name = monitoring.get_tool(tool)
        if name is None:
            continue
        events = monitoring.get_events(tool)
        monitoring.set_events(tool, 0)
        callbacks = {
            event: callback
            for event in bits
            if (callback := monitoring.register_callback(tool, event, None)) is not None
        }
        if events or callbacks:
            yield _Suspended(
                name.removesuffix(".py"), _Tool(monitoring, tool, name, events, callbacks).restore
            )


@dataclass(frozen=True, slots=True)
class _Tool:
    """A tool of `sys.monitoring`, as it was."""

    monitoring: Monitoring
    number: int
    name: str
    events: int
    callbacks: Mapping[int, Hook]

    def restore(self) -> None:
        """Give it its events again, unless it has ended meanwhile."""
        monitoring = self.monitoring
        if monitoring.get_tool(self.number) != self.name:
            return
        for event, callback in self.callbacks.items():
            monitoring.register_callback(self.number, event, callback)
        monitoring.set_events(self.number, self.events)
        # Where an event happened meanwhile, it was disabled.
        monitoring.restart_events()


def _events(monitoring: Monitoring) -> list[int]:
    """Each event; later Pythons have two names for BRANCH, which stands for both of them."""
    named: dict[str, Any] = dict(vars(monitoring.events))
    if "BRANCH_LEFT" in named:
        named.pop("BRANCH", None)
    return sorted({bit for bit in named.values() if isinstance(bit, int) and bit > 0})
