"""Workers of a duel that are forked are as those that are started anew."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from duel_projects import AGAINST, Project, text

from pytest_dlperf.duel import workspace
from pytest_dlperf.duel.cleanup_process import CleanupProcess
from pytest_dlperf.duel.fork_server import ForkServer
from pytest_dlperf.duel.workspace import DuelRequest, Workspace, prepare_workspace
from pytest_dlperf.report.progress import NoProgress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_dlperf.duel.worker_process import WorkerProcess

pytestmark = pytest.mark.subprocess

TESTS = """
import atexit
import json
import locale
import logging
import multiprocessing
import random
import stat
import sys
import tempfile
import threading
import uuid

FOLDER = Path({folder!r})

@pytest.mark.dlperf("throughput >= 0.8 * baseline", detect="throughput 50%", **SHORT)
def test_it(dlperf):
    seen = dict(
        folder=os.getcwd(), path=sys.path, arguments=sys.argv, parent=os.getppid(),
        leads=os.getpid() == os.getpgid(0) == os.getsid(0),
        variables=dict(os.environ),
        threads=sorted(thread.name for thread in threading.enumerate()),
        signals=[str(signal.getsignal(number)) for number in (2, 13, 15)],
        flags=[sys.flags.safe_path, sys.flags.utf8_mode, sys.dont_write_bytecode],
        masked=[int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        umask=[os.umask(0o22), os.umask(0o22)],
        files=sorted(
            ["".join(filter(str.isalpha, link)), os.get_inheritable(number)]
            for number in map(int, os.listdir("/proc/self/fd"))
            if os.path.exists(f"/proc/self/fd/{{number}}")  # all but that of the listing
            if "dlperf-imports" not in (link := os.readlink(f"/proc/self/fd/{{number}}"))
        ),
        main=[
            threading.current_thread() is threading.main_thread(), threading.main_thread().name,
            threading.get_native_id() == os.getpid(), multiprocessing.current_process().name,
            str(multiprocessing.get_start_method(allow_none=True)),
            sys.modules["__main__"].__name__,
            getattr(sys.modules["__main__"], "__file__", None),
        ],
        locale=locale.setlocale(locale.LC_ALL), handlers=str(logging.root.handlers),
        drawn=[
            int(np.random.randint(2**31)), random.random(), str(uuid.uuid1()), str(uuid.uuid4()),
            next(tempfile._get_candidate_names()), multiprocessing.current_process().authkey.hex(),
        ],
    )
    (FOLDER / f"{{'base' if AT_BASE else 'candidate'}}.json").write_text(json.dumps(seen))
    dlperf(model.infer, DATA)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with one commit; its tests write what they see of their process."""
    monkeypatch.setenv("OF_THE_PROJECT", "0")
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
    """Without the names of folders, which are others in each duel or process."""
    text = re.sub(r"dlperf-[0-9a-f]{12}", "dlperf-tree", json.dumps(value))
    return json.loads(re.sub(r"(base|candidate)-\d+", r"\1", text))


def test_a_fork_is_as_a_new_process(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folder, module path, variables, streams, signals and threads are the same.

    What is drawn at random when a process starts is another value in each.
    """
    project.tests("import sklearn\n" + TESTS.format(folder=str(project.top.parent)))
    project.commit()
    project.duel().assert_outcomes(passed=1)
    forked = seen(project)
    with monkeypatch.context() as patch:
        spawned(patch)
        shutil.rmtree(project.top / ".pytest_cache")  # or it would continue from the pairs before
        project.duel().assert_outcomes(passed=1)
    new = seen(project)

    drawn = [processes[side].pop("drawn") for processes in (forked, new) for side in forked]
    for values in zip(*drawn, strict=True):
        assert len(set(values)) == len(drawn)
    for side in ("base", "candidate"):
        assert "KMP_INIT_AT_FORK" in forked[side]["variables"]  # set by importing scikit-learn
        assert forked[side].pop("parent") == new[side].pop("parent") == os.getpid()
        assert without_tree(forked[side]) == without_tree(new[side])


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


SETTINGS = {
    "start method": "import multiprocessing; multiprocessing.set_start_method('spawn')",
    "thread": (
        "import threading; "
        "threading.Thread(target=threading.Event().wait, daemon=True, name='early').start()"
    ),
    "seed": "import numpy; numpy.random.seed(3)",
    "variable": "os.environ['OF_THE_PROJECT'] = '1'",
}
IN_WORKERS = "import os\nif 'DLPERF_PADDING' in os.environ:\n    "
"""Begins a conftest that leaves the controller, which is the process of this test, as it is."""


@pytest.mark.parametrize("setting", SETTINGS)
def test_conftests_that_change_their_process(
    project: Project, servers: list[ForkServer], setting: str
) -> None:
    """That happens in each fork as in a new process, and none is given up."""
    project.write("conftest.py", IN_WORKERS + SETTINGS[setting])
    project.commit()

    result = project.duel()

    result.assert_outcomes(passed=1)
    assert "PASS" in text(result)
    (server,) = servers
    assert server.refusal == "the duel is over"
    for side in seen(project).values():
        assert ("early" in side["threads"]) == (setting == "thread")
        assert ("spawn" in side["main"]) == (setting == "start method")
        assert side["variables"]["OF_THE_PROJECT"] == ("1" if setting == "variable" else "0")
        if setting == "seed":
            assert side["drawn"][0] == np.random.RandomState(3).randint(2**31)


CALLS = {
    "tensorflow": (
        "tf.config.list_physical_devices()\n",
        "tf.function(lambda batch: tf.linalg.matmul(batch, tf.ones((4, 3))))",
    ),
    "torch": (
        "torch.get_num_threads()\n",
        "lambda batch: torch.nn.Linear(4, 3)(torch.from_numpy(batch.copy())).detach()",
    ),
    "jax": ("jax.devices()\n", "jax.jit(lambda batch: batch @ jax.numpy.ones((4, 3)))"),
}
"""Framework -> what a conftest asks it at once, and a model."""
FRAMEWORK_TESTS = """
{imports}
IS_FORK = b"fork_server_process" in Path("/proc/self/cmdline").read_bytes()

@pytest.mark.parametrize("name", {names})
@pytest.mark.dlperf("throughput >= 0.1 * baseline", detect="throughput 90%", **SHORT)
def test_it(dlperf, name):
    side = "base" if AT_BASE else "candidate"
    (Path({folder!r}) / f"{{side}}-{{name}}").write_text(f"{{IS_FORK}} {said}")
    models = {{{models}}}
    dlperf(models[name], (INPUTS, None))
"""


def frameworks_of_sides(
    project: Project, pytester: pytest.Pytester, names: tuple[str, ...], said: str = ""
) -> set[str]:
    """Run a duel with a test for each framework; whether sides were forks, and what they said.

    In a process of its own, since no framework can be imported twice in one.
    """
    if not all(map(find_spec, names)):
        pytest.skip("not installed")
    lines = "".join(f"import {name}\n" for name in names)
    imports = lines.replace("tensorflow", "tensorflow as tf")
    models = ", ".join(f"{name!r}: {CALLS[name][1]}" for name in names)
    folder = project.top.parent
    project.tests(
        FRAMEWORK_TESTS.format(
            imports=imports, names=names, models=models, folder=str(folder), said=said
        )
    )
    project.write(
        "conftest.py",
        (project.top / "conftest.py").read_text()
        + imports
        + "".join(CALLS[name][0] for name in names),
    )
    project.commit()

    result = pytester.runpytest_subprocess("-p", "dlperf", *AGAINST)

    result.assert_outcomes(passed=len(names))
    assert text(result).count("PASS") >= len(names)
    files = [folder / f"{side}-{name}" for side in ("base", "candidate") for name in names]
    return {file.read_text().strip() for file in files}


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "names",
    [
        *(pytest.param((name,), marks=pytest.mark.frameworks, id=name) for name in CALLS),
        pytest.param(tuple(CALLS), id="all"),
    ],
)
def test_conftests_that_import_frameworks(
    project: Project, pytester: pytest.Pytester, names: tuple[str, ...]
) -> None:
    """Each framework computes in forks of a process that has imported it, or all of them."""
    project.write("conftest.py", "")

    assert frameworks_of_sides(project, pytester, names) == {"True"}


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        pytest.param(
            *("jax", "KERAS_BACKEND=jax", "{__import__('keras').backend.backend()}"),
            marks=pytest.mark.frameworks,
        ),
        ("jax", "XLA_FLAGS=--xla_force_host_platform_device_count=2", "{jax.device_count()}"),
        pytest.param(
            *("torch", "OMP_NUM_THREADS=1", "{torch.get_num_threads()}"),
            marks=pytest.mark.frameworks,
        ),
        pytest.param(
            *("tensorflow", "TF_NUM_INTRAOP_THREADS=1"),
            "{os.environ['TF_NUM_INTRAOP_THREADS']}",
            marks=pytest.mark.frameworks,
        ),
    ],
)
def test_conftests_that_set_what_a_framework_reads(
    project: Project, pytester: pytest.Pytester, name: str, setting: str, said: str
) -> None:
    """The variable takes effect, in sides of either kind."""
    variable, _, value = setting.partition("=")
    project.write("conftest.py", f"import os\nos.environ[{variable!r}] = {value!r}\n")

    (answer,) = frameworks_of_sides(project, pytester, (name,), said)

    assert answer.split()[1] == value.rpartition("=")[2]


@pytest.fixture
def trees(project: Project, tmp_path: Path) -> Iterator[Workspace]:
    """The two sides of the project, whose workers are started by the test."""
    session = {"temporary": str(tmp_path), "values": None, "shared": {}, "held": []}
    request = DuelRequest(
        ref="HEAD",
        install="",
        python="",
        folder=project.top,
        root=project.top,
        options=("-p", "dlperf", "-p", "simulated_time"),
        paths=(),
        in_path=False,
        ini_file=project.top / "pytest.ini",
        carry=(),
        cache=None,
        timeout=60.0,
        session=session,
    )
    with CleanupProcess() as cleanup:
        made = prepare_workspace(request, os.environ, cleanup, NoProgress())
        yield made
        made.stop_forking("the end")


def imported_before(trees: Workspace, project: Project) -> list[bool]:
    """Start a pair up to its measurement; whether each found `wave` imported."""
    workers = [trees.start(role, lambda _: None) for role in ("base", "candidate")]
    for worker in workers:
        worker.collected()
        worker.run("test_module.py::test_it", None)
        worker.proceed()
    for worker in workers:
        worker.kill()
    return [side["early"] for side in seen(project).values()]


@pytest.mark.parametrize("setting", ["", "os.environ['OF_THE_PROJECT'] = '1'\n"])
def test_what_the_first_sides_have_imported(
    project: Project, trees: Workspace, setting: str
) -> None:
    """The next find it imported, unless a variable was changed, which it might have read."""
    source = setting + "EARLY = 'wave' in sys.modules\nimport wave\n" + TESTS
    source = source.replace("        drawn=[", "        early=EARLY, drawn=[")
    source = source.replace("import sys\n", "", 1)
    project.tests("import sys\n" + source.format(folder=str(project.top.parent)))
    (trees.tree.root / "test_module.py").write_text((project.top / "test_module.py").read_text())

    assert imported_before(trees, project) == [False, False]
    assert imported_before(trees, project) == [not setting] * 2
    assert imported_before(trees, project) == [not setting] * 2
    assert trees.fork_server is not None
    assert trees.fork_server.refusal == ""
