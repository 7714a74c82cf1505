"""Tracers and profilers: suspended for a block, restored exactly, and named."""

from __future__ import annotations

import bdb
import cProfile
import gc
import pdb  # noqa: T100 - the debugger as it is installed
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dlperf.instrumentation import (
    Instrumentation,
    lasting_instrumentation,
    name_of,
    python_monitoring,
    suspension_note,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_dlperf.instrumentation import Hook

OWN = __name__.partition(".")[0]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave the tracers of the tests' own coverage as they were."""
    hooks = sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    threading.settrace(None)
    threading.setprofile(None)
    yield
    gc.set_debug(0)
    trace, profile, trace_of_threads, profile_of_threads = hooks
    threading.settrace(trace_of_threads)
    threading.setprofile(profile_of_threads)
    sys.setprofile(profile)
    sys.settrace(trace)


class Counter:
    """A trace function, and a profile function, that counts the calls of `work`."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, frame: object, event: str, arg: object) -> None:
        """Count."""
        del arg
        code = frame.f_code  # type: ignore[attr-defined]  # a frame
        self.calls += event == "call" and code is work.__code__


def work() -> None:
    """Something that is traced."""


def in_a_thread() -> None:
    """Work in a thread that begins now."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def tracing(hook: Hook) -> Callable[[], object]:
    """Trace this thread and all that begin later; returns what is set."""
    threading.settrace(hook)
    sys.settrace(hook)
    return lambda: (sys.gettrace(), threading.gettrace())


def profiling(hook: Hook) -> Callable[[], object]:
    """Profile this thread and all that begin later; returns what is set."""
    threading.setprofile(hook)
    sys.setprofile(hook)
    return lambda: (sys.getprofile(), threading.getprofile())


@pytest.mark.parametrize("setting", [tracing, profiling])
def test_hooks_are_suspended_and_restored(setting: Callable[[Hook], Callable[[], object]]) -> None:
    """In this thread and in threads that begin meanwhile; the same function is set again."""
    counter = Counter()
    current = setting(counter)
    before = current()

    with Instrumentation().suspended() as note:
        work()
        in_a_thread()
        inside = current()
    counted = counter.calls
    work()
    in_a_thread()
    after = current()

    assert note == f"{OWN} was suspended while measuring"
    assert inside == (None, None)
    assert counted == 0
    assert counter.calls == 2
    assert after == before == (counter, counter)


def test_hooks_are_restored_after_an_error() -> None:
    """An exception, or an interrupt, leaves everything as it was."""
    counter = Counter()
    current = tracing(counter)

    with pytest.raises(KeyboardInterrupt), Instrumentation().suspended():
        raise KeyboardInterrupt

    assert current() == (counter, counter)


def test_measurements_within_measurements() -> None:
    """An inner block restores nothing, and knows what the outer one has suspended."""
    counter = Counter()
    current = tracing(counter)
    instrumentation = Instrumentation()

    with instrumentation.suspended() as outer:
        with instrumentation.suspended() as inner:
            work()
        work()
        between = current()

    assert inner == outer != ""
    assert between == (None, None)
    assert counter.calls == 0
    assert current() == (counter, counter)
    sys.settrace(None)
    threading.settrace(None)
    with instrumentation.suspended() as without:
        assert not without


@pytest.mark.parametrize("works", [True, False])
def test_threads_that_had_begun_before(*, works: bool) -> None:
    """They stay traced, as only they could change that: said of those that work."""
    begun, done, goes_on = threading.Event(), threading.Event(), threading.Event()

    def serve() -> None:
        begun.set()
        goes_on.wait()
        end_ns = time.thread_time_ns() + 20_000_000
        while works and time.thread_time_ns() < end_ns:
            work()
        done.set()
        ended.wait()

    ended = threading.Event()
    threading.settrace(lambda *_: serve_trace)
    thread = threading.Thread(target=serve, name="server")
    thread.start()
    begun.wait()
    instrumentation = Instrumentation()

    with instrumentation.suspended() as note:
        goes_on.set()
        done.wait()
    left = instrumentation.left
    ended.set()
    thread.join()

    assert note == f"{OWN} was suspended while measuring"
    assert left == (f"{OWN} in the thread server" if works else "")


def serve_trace(frame: object, event: str, arg: object) -> object:
    """Trace every line."""
    del frame, event, arg
    return serve_trace


def test_a_profiler_in_c_is_stopped_and_started() -> None:
    """`sys.setprofile` cannot set cProfile's function again, but it goes on counting."""
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        with Instrumentation().suspended() as note:
            work()
        work()
    finally:
        profiler.disable()

    calls = {entry.code: entry.callcount for entry in profiler.getstats()}
    assert note == "cProfile was suspended while measuring"
    assert calls[work.__code__] == 1


def test_debugging_of_the_garbage_collector_is_suspended() -> None:
    """Its reports are not the target's time."""
    gc.set_debug(gc.DEBUG_UNCOLLECTABLE)

    with Instrumentation().suspended() as note:
        assert gc.get_debug() == 0

    assert gc.get_debug() == gc.DEBUG_UNCOLLECTABLE
    assert note == "gc.set_debug was suspended while measuring"


@dataclass
class FakeMonitoring:
    """`sys.monitoring` with tools that have events and callbacks."""

    tools: dict[int, str]
    sets: dict[int, int] = field(default_factory=dict)
    callbacks: dict[tuple[int, int], Hook] = field(default_factory=dict)
    restarts: int = 0
    events: object = field(
        default_factory=lambda: SimpleNamespace(
            NO_EVENTS=0, PY_START=1, LINE=4, BRANCH_LEFT=8, BRANCH_RIGHT=16, BRANCH=32
        )
    )

    def get_tool(self, tool_id: int, /) -> str | None:
        """Name of a tool."""
        return self.tools.get(tool_id)

    def get_events(self, tool_id: int, /) -> int:
        """The events that a tool gets from all code."""
        return self.sets.get(tool_id, 0)

    def set_events(self, tool_id: int, event_set: int, /) -> None:
        """Choose events."""
        assert tool_id in self.tools
        self.sets[tool_id] = event_set

    def register_callback(self, tool_id: int, event: int, func: Hook | None, /) -> Hook | None:
        """Exchange a callback; that of BRANCH stands for two events."""
        assert event != 32
        old = self.callbacks.pop((tool_id, event), None)
        if func is not None:
            self.callbacks[tool_id, event] = func
        return old

    def restart_events(self) -> None:
        """Count."""
        self.restarts += 1


def test_tools_of_sys_monitoring_get_no_events() -> None:
    """Neither those of all code nor, without a callback, those of one code object."""
    monitoring = FakeMonitoring(
        {1: "coverage.py", 3: "idle", 0: "pydevd"},
        {1: 5, 0: 0},
        {(1, 1): print, (1, 4): len, (0, 4): repr, (0, 16): id},
    )
    before = dict(monitoring.sets), dict(monitoring.callbacks)

    with Instrumentation(monitoring).suspended() as note:
        assert not any(monitoring.sets.values())
        assert not monitoring.callbacks

    assert note == "pydevd and coverage were suspended while measuring"
    assert (monitoring.sets | {3: 0}, monitoring.callbacks) == (before[0] | {3: 0}, before[1])
    assert monitoring.restarts == 2


def test_a_tool_that_ends_meanwhile_gets_nothing_back() -> None:
    """Its number may be another tool's by then."""
    monitoring = FakeMonitoring({2: "cProfile"}, {2: 5})

    with Instrumentation(monitoring).suspended():
        monitoring.tools[2] = "another"

    assert monitoring.sets == {2: 0}


@pytest.mark.skipif(python_monitoring() is None, reason="Python 3.12 and later have it")
def test_sys_monitoring_itself() -> None:
    """A tool with an event of all code and one of `work` alone, as debuggers set breakpoints."""
    monitoring: Any = python_monitoring()
    events, seen = monitoring.events, []
    tool = next(number for number in range(6) if monitoring.get_tool(number) is None)

    def began(code: object, *_: object) -> None:
        seen.extend(["call"] if code is work.__code__ else [])

    def left(code: object, *_: object) -> None:
        seen.extend(["return"] if code is work.__code__ else [])

    monitoring.use_tool_id(tool, "pydevd")
    try:
        monitoring.register_callback(tool, events.PY_START, began)
        monitoring.register_callback(tool, events.PY_RETURN, left)
        monitoring.set_events(tool, events.PY_START)
        monitoring.set_local_events(tool, work.__code__, events.PY_RETURN)

        with Instrumentation().suspended() as note:
            work()
            in_a_thread()
            inside = list(seen)
        work()
        in_a_thread()
    finally:
        monitoring.set_events(tool, 0)
        monitoring.set_local_events(tool, work.__code__, 0)
        monitoring.free_tool_id(tool)

    assert "pydevd" in note
    assert inside == []
    assert seen == ["call", "return"] * 2


def test_names() -> None:
    """Those that users know."""
    debugger = type("Wrapped", (pdb.Pdb,), {"__module__": "_pytest.debugging"})()
    assert name_of(debugger.trace_dispatch) == "pdb"
    assert name_of(bdb.Bdb().trace_dispatch) == "bdb"
    main = {"__module__": "__main__"}
    assert name_of(cProfile.Profile()) == "cProfile"
    assert name_of(type("Profile", (cProfile.Profile,), main)()) == "cProfile"
    assert name_of(type("Trace", (Counter,), main)().__call__) == "Trace"
    assert name_of(Counter()) == OWN
    assert name_of(work) == OWN


@pytest.mark.parametrize(
    ("names", "note"),
    [
        ((), ""),
        (("coverage",), "coverage was suspended while measuring"),
        (("a", "b", "c"), "a, b and c were suspended while measuring"),
    ],
)
def test_the_note(names: tuple[str, ...], note: str) -> None:
    """One sentence."""
    assert suspension_note(names) == note


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ""),
        ({"PYTHONMALLOC": "pymalloc", "PYTHONASYNCIODEBUG": ""}, ""),
        ({"PYTHONMALLOC": "debug"}, "PYTHONMALLOC=debug"),
        ({"PYTHONMALLOC": "malloc"}, "PYTHONMALLOC=malloc"),
        ({"PYTHONASYNCIODEBUG": "1"}, "PYTHONASYNCIODEBUG=1"),
        ({"PYTHONFAULTHANDLER": "1", "PYTHONHASHSEED": "0"}, ""),
    ],
)
def test_variables_that_make_python_slower(variables: dict[str, str], expected: str) -> None:
    """An allocator that checks, or asyncio's debug mode; not what costs nothing."""
    assert lasting_instrumentation(variables) == expected


class Unknown:
    """A profiler in C whose function cannot be set again."""


def test_a_profiler_that_cannot_be_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left running, and part of the environment."""
    monkeypatch.setattr(sys, "getprofile", Unknown)

    with Instrumentation().suspended() as note:
        assert not note
    assert lasting_instrumentation({}) == f"the profiler {OWN}"


@pytest.mark.subprocess
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-X", "dev"], "python -X dev"),
        (["-X", "importtime"], "python -X importtime"),
        (["-X", "tracemalloc"], "tracemalloc"),
        (["-X", "faulthandler"], ""),
    ],
)
def test_options_of_the_interpreter(arguments: list[str], expected: str) -> None:
    """What was asked of the interpreter at its start is seen."""
    code = "from pytest_dlperf import instrumentation as i; print(i.lasting_instrumentation({}))"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, *arguments, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected
