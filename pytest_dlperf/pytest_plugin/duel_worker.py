"""The pytest session of a duel's worker: runs the tests that the controller asks for."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_dlperf.duel.channel import Channel, connect
from pytest_dlperf.duel.fork_server_process import EnvironmentWatch
from pytest_dlperf.duel.module_identity import editable_folders, moved_to_tree
from pytest_dlperf.duel.worker import WorkerEvaluator
from pytest_dlperf.pytest_plugin import pytest_benchmark as neighbours
from pytest_dlperf.pytest_plugin.collection import PLANS, measures
from pytest_dlperf.pytest_plugin.options import SIDE
from pytest_dlperf.pytest_plugin.side_options import mute

if TYPE_CHECKING:
    import warnings
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from pytest_dlperf.duel.fork_server_process import ImportReport
    from pytest_dlperf.duel.worker_handle import Fields


class DuelWorkerPlugin:
    """The plugin that makes a pytest session one side of a duel.

    Args:
        channel: to the controller.
        start: the controller's first message.
        folder: of temporary files, for this process alone.
        on_arrival: called at each measurement.
    """

    def __init__(
        self, channel: Channel, start: Fields, folder: Path, on_arrival: Callable[[], None]
    ) -> None:
        from pytest_dlperf.machine import environment

        self.__name__ = SIDE  # by which other parts of the plugin find it
        self._channel = channel
        self.role: str = start["role"]
        self.cache = Path(start["cache"]) if start["cache"] else None
        self._lead: bool = start["lead"]
        self._start = start
        self._folder = folder
        self._on_arrival = on_arrival
        self._test = ""
        self._timer: tuple[pytest.Item, object] | None = None
        self.evaluator = WorkerEvaluator(channel, environment, self._waiting)

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # a wrapper, to be before all that read options
    def pytest_cmdline_main(
        self, config: pytest.Config
    ) -> Generator[None, int | pytest.ExitCode, int | pytest.ExitCode]:
        """Leave reports and files to the controller, and have a folder for temporary ones."""
        mute(config.option, self._start["shared"], self._start["held"], lead=self._lead)
        if hasattr(config.option, "basetemp"):
            # Not the folder itself: tests may share data in the parent of their base folder.
            config.option.basetemp = str(self._folder / "tmp")
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Show one call only: reading the sources of all of them takes half a second."""
        excinfo.traceback = excinfo.traceback[:1]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Deselect nothing but in the lead, which decides what is run.

        What a plugin leaves out may depend on how many tests there are, or on earlier runs.
        """
        every = list(items)
        yield
        if not self._lead:
            kept = set(items)
            items += [item for item in every if item not in kept]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests that the controller asks for, until it ends the session."""
        items = {item.nodeid: item for item in session.items}
        failed = bool(session.testsfailed)
        tests = [_described(item) for item in session.items]
        self._channel.send({"is": "collected", "tests": tests, "failed": failed})
        while (command := self._channel.receive().fields)["do"] == "run":
            item, following = items[command["test"]], items.get(command["next"])
            self._test = item.nodeid
            try:
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            except KeyboardInterrupt:
                if self._lead:
                    raise
                # Not passed on: pytest would describe each frame, for nobody and for a third of
                # a second while the next pair starts.
                break
            reason = session.shouldfail or session.shouldstop
            if reason:  # given by a plugin or a fixture
                failed = bool(session.shouldfail)
                self._channel.send({"is": "stop", "failed": failed, "reason": str(reason)})
            self._channel.send({"is": "done"})
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Tell of a teardown that fails after the measurement: pytest only writes it.

        The session of a further pair is interrupted, so its fixtures are torn down here.
        """
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            line = _error_line(error, session.config.rootpath)
            self._channel.send({"is": "teardown", "test": self._test, "line": line})
            raise

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Pass a report on."""
        self._channel.send({"is": "report", "data": self._serialised(report)})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Pass on what could not be collected, or was skipped as a whole."""
        if not report.passed:
            self._channel.send({"is": "collectreport", "data": self._serialised(report)})

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Pass on which tests were left out."""
        self._channel.send({"is": "deselected", "tests": [item.nodeid for item in items]})

    def pytest_warning_recorded(
        self,
        warning_message: warnings.WarningMessage,
        when: str,
        nodeid: str,
        location: tuple[str, int, str] | None,
    ) -> None:
        """Pass a warning on."""
        category = warning_message.category
        self._channel.send(
            {
                "is": "warning",
                "text": str(warning_message.message),
                "category": [category.__module__, category.__qualname__],
                "file": warning_message.filename,
                "line": warning_message.lineno,
                "when": when,
                "test": nodeid,
                "location": location,
            }
        )

    @pytest.hookimpl(wrapper=True, optionalhook=True)
    def pytest_timeout_set_timer(
        self, item: pytest.Item, settings: object
    ) -> Generator[None, object, object]:
        """Remember the timer that pytest-timeout starts for a test."""
        self._timer = item, settings
        return (yield)

    @pytest.hookimpl(wrapper=True, optionalhook=True)
    def pytest_timeout_cancel_timer(self) -> Generator[None, object, object]:
        """Forget the timer."""
        self._timer = None
        return (yield)

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """While the controller decides what is measured: pytest-timeout's timer is stopped.

        A test waits here for as long as all its workers take, by the rules of the duel.
        """
        self._on_arrival()
        timer, hook = self._timer, self._config.hook
        if timer is None:
            yield
            return
        item, settings = timer
        hook.pytest_timeout_cancel_timer(item=item)
        try:
            yield
        finally:
            hook.pytest_timeout_set_timer(item=item, settings=settings)

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Keep the configuration, whose hooks serialise reports; forward pytest-benchmark's."""
        self._config = config
        if not self._lead:
            _leave_garbage(config)
        if neighbours.is_there(config):
            config.pluginmanager.register(neighbours.ForwardedBenchmarks(), "dlperf-passing")

    def _serialised(self, report: pytest.TestReport | pytest.CollectReport) -> Mapping[str, Any]:
        hook = self._config.hook
        data = hook.pytest_report_to_serializable(config=self._config, report=report)
        # User properties may be any object; JSON takes its text.
        plain: Mapping[str, Any] = json.loads(json.dumps(data, default=str))
        return plain


def _error_line(error: BaseException, root: Path) -> str:
    """What an error says, and where the project raised it; of several, the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(root)]
    place = f" ({Path(own[-1].filename).relative_to(root)}:{own[-1].lineno})" if own else ""
    message = str(error).strip().partition("\n")[0]
    return f"{': '.join(filter(None, (type(error).__name__, message)))}{place}"


def _leave_garbage(config: pytest.Config) -> None:
    """Do not collect garbage at the end, whose warnings nobody sees: that takes a second."""
    with contextlib.suppress(ImportError):  # of a name that is not public
        from _pytest.unraisableexception import gc_collect_iterations_key

        config.stash[gc_collect_iterations_key] = 0


def _described(item: pytest.Item) -> dict[str, object]:
    plan = item.stash.get(PLANS, None)
    return {
        "test": item.nodeid,
        "location": item.location,
        "measures": measures(item),
        "budgets": [
            [budget.text, budget.metric.name, budget.metric.detect]
            for budget in (plan.budgets if plan else ())
            if budget.relative
        ],
        "detect": [[detect.metric, detect.loss] for detect in (plan.detect if plan else ())],
    }


def main() -> None:
    """Run a worker in a new process."""
    _work(connect(), _nothing)


def main_of_fork(report: ImportReport) -> None:
    """Run a worker in a fork, which gives up if it is not what a new process would be."""
    channel = connect()

    def give_up(variable: str) -> NoReturn:
        why = f"{variable} is set after what may read it was imported"
        channel.send({"is": "unforkable", "why": why})
        while True:
            signal.pause()  # until the controller kills this process

    watch = EnvironmentWatch(sys.modules, give_up)

    def on_arrival() -> None:
        watch.end()
        report.write(watch.changed)

    _work(channel, on_arrival)


def _nothing() -> None:
    """On arrival of a new process."""


def _work(channel: Channel, on_arrival: Callable[[], None]) -> None:
    """Run the session that the controller's first message describes, and send its exit code."""
    start = channel.receive().fields
    if start["trees"] is not None:
        _lead_children(*start["trees"])
    if start["path"] is not None:
        sys.path.insert(0, start["path"])
    folder = Path(start["temporary"]) / f"{start['role']}-{os.getpid()}"
    folder.mkdir(parents=True)
    arguments = list(start["arguments"])
    sys.argv = ["pytest", *arguments]
    if start["values"] is not None:
        arguments += ["-o", f"cache_dir={_own_cache(folder, start)}"]
    plugin = DuelWorkerPlugin(channel, start, folder, on_arrival)
    code = pytest.main(arguments, plugins=[plugin])
    channel.send({"is": "ended", "code": int(code)})


def _lead_children(toplevel: str, worktree: str) -> None:
    """Let Python programs that tests start import the base's code.

    An editable install leads them to the working tree. This process itself is checked instead,
    once its modules are known.
    """
    folders = moved_to_tree(editable_folders(sys.path, sys.modules), toplevel, worktree)
    if folders:
        given = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([*folders, *([given] if given else [])])


def _own_cache(folder: Path, start: Fields) -> Path:
    """A cache of pytest for this process alone.

    The candidate's begins with the values of the user's, which choose tests (`--lf`), and has the
    user's folders. The base's is empty, as that of any fresh checkout.
    """
    cache, users = folder / "cache", Path(start["values"])
    cache.mkdir()
    if start["role"] == "candidate" and users.is_dir():
        (users / "d").mkdir(exist_ok=True)
        (cache / "d").symlink_to(users / "d")
        if (users / "v").is_dir():
            shutil.copytree(users / "v", cache / "v")
    return cache
