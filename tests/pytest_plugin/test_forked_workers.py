"""Workers of a duel that are forked are as those that are started anew."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest
from duel_projects import Project, text

from pytest_dlperf.duel import workspace
from pytest_dlperf.duel.fork_server import ForkServer

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_dlperf.duel.worker_process import WorkerProcess

pytestmark = pytest.mark.subprocess

TESTS = """
import json
import sys
import threading

FOLDER = Path({folder!r})

@pytest.mark.dlperf("throughput >= 0.8 * baseline", detect="throughput 50%", **SHORT)
def test_it(dlperf):
    seen = dict(
        folder=os.getcwd(), path=sys.path, arguments=sys.argv, parent=os.getppid(),
        leads=os.getpid() == os.getpgid(0) == os.getsid(0),
        random=int(np.random.randint(2**31)), variables=dict(os.environ),
        threads=sorted(thread.name for thread in threading.enumerate()),
        signals=[str(signal.getsignal(number)) for number in (2, 13, 15)],
        flags=[sys.flags.safe_path, sys.flags.utf8_mode, sys.dont_write_bytecode],
    )
    (FOLDER / f"{{'base' if AT_BASE else 'candidate'}}.json").write_text(json.dumps(seen))
    dlperf(model.infer, DATA)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with one commit; its tests write what they see of their process."""
    project = Project(pytester, monkeypatch)
    project.tests(TESTS.format(folder=str(project.top.parent)))
    project.commit()
    return project


def seen(project: Project) -> dict[str, dict[str, Any]]:
    """What the tests saw last, without what is different in every process and duel."""
    sides = {}
    for side in ("base", "candidate"):
        content = json.loads((project.top.parent / f"{side}.json").read_text())
        for name in ("DLPERF_PADDING", "PYTHONHASHSEED"):
            content["variables"].pop(name, None)
        sides[side] = content
    return sides


def spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start all workers as new processes."""
    monkeypatch.setattr(workspace, "start_fork_server", lambda *_: None)


def without_tree(value: object) -> object:
    """Without the name of the worktree, which is another one in each duel."""
    return json.loads(re.sub(r"dlperf-[0-9a-f]{12}", "dlperf-tree", json.dumps(value)))


def test_a_fork_is_as_a_new_process(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folder, module path, variables, streams, signals and threads are the same."""
    project.duel().assert_outcomes(passed=1)
    forked = seen(project)
    with monkeypatch.context() as patch:
        spawned(patch)
        project.duel().assert_outcomes(passed=1)
    new = seen(project)

    for side in ("base", "candidate"):
        random = forked[side].pop("random"), new[side].pop("random")
        assert len(set(random)) == len(random)
        assert forked[side].pop("parent") == new[side].pop("parent") == os.getpid()
        assert without_tree(forked[side]) == without_tree(new[side])


def test_sides_draw_other_numbers(project: Project) -> None:
    """Numpy's global generator is not that of the process that was forked."""
    project.duel().assert_outcomes(passed=1)

    sides = seen(project)
    assert sides["base"]["random"] != sides["candidate"]["random"]


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[ForkServer]:
    """All fork servers that were started."""
    started: list[ForkServer] = []
    ordinary = ForkServer.__init__

    def start(self: ForkServer, process: WorkerProcess, *arguments: Any) -> None:  # noqa: ANN401
        started.append(self)
        ordinary(self, process, *arguments)

    monkeypatch.setattr(ForkServer, "__init__", start)
    return started


@pytest.mark.parametrize(
    "setting",
    [
        "os.environ['NPY_SOMETHING'] = '1'\n",
        (
            "@pytest.fixture(autouse=True)\ndef early(monkeypatch):\n"
            "    monkeypatch.setenv('NPY_SOMETHING', '1')\n"
        ),
    ],
    ids=["module", "fixture"],
)
def test_a_variable_that_a_framework_reads(
    project: Project, servers: list[ForkServer], setting: str
) -> None:
    """Whoever sets it before the first measurement gets new processes, in which it is read."""
    project.tests(setting + TESTS.format(folder=str(project.top.parent)))
    project.commit()

    result = project.duel()

    result.assert_outcomes(passed=1)
    assert "PASS" in text(result)
    (server,) = servers
    assert server.refusal == "NPY_SOMETHING is set after what may read it was imported"
    assert seen(project)["base"]["variables"]["NPY_SOMETHING"] == "1"


def test_a_server_that_is_killed(
    project: Project, servers: list[ForkServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers are started anew, and the duel goes on."""
    ordinary = ForkServer.__init__

    def start(self: ForkServer, process: WorkerProcess, *arguments: Any) -> None:  # noqa: ANN401
        ordinary(self, process, *arguments)
        os.kill(process.pid, signal.SIGKILL)

    monkeypatch.setattr(ForkServer, "__init__", start)

    result = project.duel()

    result.assert_outcomes(passed=1)
    (server,) = servers
    assert "was killed by SIGKILL" in server.refusal


def test_module_path_with_code_for_the_start_of_python(
    project: Project, servers: list[ForkServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each side has its own `sitecustomize`, which only a new process runs."""
    (tmp_path / "sitecustomize.py").write_text("import os\nos.environ['CUSTOMIZED'] = '1'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    project.duel().assert_outcomes(passed=1)

    assert servers == []
    assert seen(project)["base"]["variables"]["CUSTOMIZED"] == "1"
