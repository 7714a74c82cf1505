"""The plugin beside others: an ordinary run and a duel with each; `make plugins` runs this."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from duel_projects import AGAINST, INI, MODEL, PLUGINS, Project, junit_cases

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.subprocess

beside_others = pytest.mark.skipif(
    find_spec("pytest_randomly") is None, reason="`make plugins` runs it: they are not installed"
)
DOCUMENTATION: Final = Path(__file__).parents[2] / "docs" / "ci.md"

MEASURED: Final = """
@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_equal(dlperf):
    dlperf(model.infer, DATA)

@pytest.mark.dlperf("throughput >= 0.7 * baseline", **HALF)
def test_slower(dlperf):
    dlperf(model.slower, DATA)
"""
SLOWER: Final = """
def slower(batch):
    for _ in range({times}):
        answer = infer(batch)
    return answer
"""
OURS: Final = ("dlperf", "benchmark")
ENDED: Final = re.compile(r"(\d+) (passed|failed|rerun|error|warning|deselected)")


@dataclass(frozen=True)
class Outcome:
    """What a run printed, and how it ended."""

    code: int
    said: str

    @property
    def counts(self) -> dict[str, int]:
        """Of the last line; pytest-sugar writes several."""
        _, several, last = self.said.rpartition("\nResults (")
        last = last if several else self.said.strip().splitlines()[-1]
        return {name: int(count) for count, name in ENDED.findall(last)}


@dataclass(frozen=True)
class Row:
    """A plugin beside ours.

    Attributes:
        plugins: to load besides ours, by the names of their entry points.
        tests: besides those that measure.
        options: of both runs.
        passed: tests that pass in the ordinary run; all but one do in the duel.
        ini: lines of `pytest.ini`.
        files: of the project.
        check: that the plugin did its job, of the project and a run; `base` has been committed.
        others: counts in the last line besides passed, and besides the failure in the duel.
        reruns: of the test that fails in the duel.
        prepare: options of a run before the first commit.
    """

    plugins: tuple[str, ...]
    tests: str = ""
    options: tuple[str, ...] = ()
    passed: int = 3
    ini: str = ""
    files: tuple[tuple[str, str], ...] = ()
    check: Callable[[Project, Outcome], None] = field(default=lambda _project, _outcome: None)
    others: tuple[tuple[str, int], ...] = ()
    reruns: int = 0
    prepare: tuple[str, ...] | None = None


def html_report(project: Project, outcome: Outcome) -> None:
    """One entry a test, with the failure of the duel."""
    del outcome
    report = project.top / "report.html"
    content = report.read_text()
    found = re.findall(r"test_module\.py::(\w+)&#34;: \[", content)
    assert sorted(found) == ["test_equal", "test_own", "test_slower"]
    report.unlink()


def junit(project: Project, outcome: Outcome) -> None:
    """One case a test."""
    file = project.top / "junit.xml"
    assert {name for _, name in junit_cases(file)} == {"test_equal", "test_own", "test_slower"}
    assert outcome.said.count("generated xml file") == 1
    file.unlink()


def allure_results(project: Project, outcome: Outcome) -> None:
    """One result a test, with what the test attached."""
    folder = project.top / "results"
    results = [json.loads(path.read_text()) for path in folder.glob("*-result.json")]
    failed = outcome.counts.get("failed", 0)
    assert sorted((result["name"], result["status"]) for result in results) == [
        ("test_equal", "passed"),
        ("test_own", "passed"),
        ("test_slower", "failed" if failed else "passed"),
    ]
    assert len(list(folder.glob("*-attachment*"))) == 1
    for path in folder.iterdir():
        path.unlink()


def durations(project: Project, outcome: Outcome) -> None:
    """Durations of each test that was run."""
    file = project.top / ".test_durations"
    stored = json.loads(file.read_text())
    assert sorted(name.partition("::")[2] for name in stored) == [
        "test_equal",
        "test_own",
        "test_slower",
    ]
    assert outcome.said.count("Stored test durations") == 1
    file.unlink()


def same_data(project: Project, outcome: Outcome) -> None:
    """All processes draw the same numbers for a test, from the seed in the header."""
    file = project.top.parent / "drawn"
    drawn = file.read_text().splitlines()
    assert len(set(drawn)) == 3
    # A duel's sides come in pairs, and each draws for each test that it measures.
    sides = Counter(line.split()[0] for line in drawn)
    measured = {sides["test_equal"], sides["test_slower"]}
    assert sides["test_own"] == 1
    if "dlperf: against" in outcome.said:
        assert all(several >= 4 and several % 2 == 0 for several in measured)
    else:
        assert measured == {1}
    assert len(re.findall(r"Using --randomly-seed=\d+", outcome.said)) == 1
    file.unlink()


def timers(project: Project, outcome: Outcome) -> None:
    """A test that hangs is stopped; the timer of one that is measured in turn stands still."""
    assert "Timeout (>0.2s) from pytest-timeout" in outcome.said
    file = project.top.parent / "timers"
    found = file.read_text().splitlines()
    file.unlink()
    turns = Counter(line for line in found if "test_equal" in line)
    pairs = turns["set test_equal"]
    assert turns == {"set test_equal": pairs, "cancel test_equal": pairs}
    assert pairs >= 2 if "dlperf: against" in outcome.said else pairs == 1


def says(*texts: str) -> Callable[[Project, Outcome], None]:
    """It is said, once."""

    def check(project: Project, outcome: Outcome) -> None:
        del project
        for text in texts:
            assert outcome.said.count(text) == 1, text

    return check


def snapshots(project: Project, outcome: Outcome) -> None:
    """No snapshot is changed, and none is said to be unused."""
    assert not project.git("status", "--porcelain", "--", "__snapshots__")
    assert "unused" not in outcome.said


def coverage_report(project: Project, outcome: Outcome) -> None:
    """A report of an ordinary run."""
    if "dlperf: against" not in outcome.said:
        return
    assert not (project.top / "coverage.xml").exists()


OWN: Final = "def test_own():\n    pass\n"
FLAKY: Final = """
ATTEMPTS = []

def test_own():
    ATTEMPTS.append(1)
    assert len(ATTEMPTS) == 2
"""
ROWS: Final = {
    "pytest-xdist": Row(
        ("xdist",),
        "def test_own(worker_id, testrun_uid):\n    assert worker_id == 'master' and testrun_uid\n",
    ),
    "pytest-randomly": Row(
        ("randomly",),
        """
import random

@pytest.fixture(autouse=True)
def drawn(request):
    with Path({path!r}).open("a") as file:
        file.write(f"{request.node.name} {random.random()}\\n")

def test_own():
    pass
""",
        check=same_data,
    ),
    "pytest-rerunfailures": Row(
        ("rerunfailures",), FLAKY, ("--reruns=2",), others=(("rerun", 1),), reruns=2
    ),
    "pytest-rerunfailures and pytest-xdist": Row(
        ("rerunfailures", "xdist"), FLAKY, ("--reruns=2",), others=(("rerun", 1),), reruns=2
    ),
    "pytest-cov": Row(("pytest_cov",), OWN, check=coverage_report),
    "pytest-timeout": Row(
        ("timeout",),
        """
import threading

@pytest.mark.timeout(0.2)
def test_hangs():
    threading.Event().wait()

def test_own():
    pass
""",
        ("--timeout=3600",),
        files=(
            (
                "conftest.py",
                """
import os
from pathlib import Path

import pytest

TIMERS = Path({path!r})

def noted(what, item):
    if "dlperf-" not in os.getcwd():  # of the candidate
        with TIMERS.open("a") as file:
            file.write(f"{what} {item.name}\\n")

@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item, settings):
    noted("set", item)

@pytest.hookimpl(tryfirst=True)
def pytest_timeout_cancel_timer(item):
    noted("cancel", item)
""",
            ),
        ),
        check=timers,
        others=(("failed", 1),),
    ),
    "pytest-asyncio": Row(
        ("asyncio",),
        """
import asyncio

@pytest.mark.asyncio
@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
async def test_own(dlperf):
    await asyncio.sleep(0)
    dlperf(model.infer, DATA)
""",
        ini="asyncio_default_fixture_loop_scope = function\n",
    ),
    "anyio": Row(
        ("anyio",),
        """
import anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
async def test_own(dlperf):
    await anyio.sleep(0)
    dlperf(model.infer, DATA)
""",
    ),
    "pytest-html": Row(
        ("html", "html_fixtures", "metadata"),
        "import pytest_html\n\ndef test_own(extras):\n"
        "    extras.append(pytest_html.extras.text('noted by the test'))\n",
        ("--html=report.html", "--self-contained-html"),
        check=html_report,
    ),
    "pytest-metadata": Row(
        ("metadata",),
        "def test_own(metadata):\n    assert metadata['branch'] == 'topic'\n",
        ("--metadata", "branch", "topic", "--junitxml=junit.xml"),
        check=junit,
    ),
    "pytest-sugar": Row(("sugar",), OWN, ("--force-sugar",)),
    "pytest-repeat": Row(("repeat",), OWN, ("--count=2",), passed=6),
    "pytest-split": Row(
        ("pytest-split",),
        OWN,
        ("--splits=1", "--group=1", "--store-durations"),
        check=durations,
    ),
    "syrupy": Row(
        ("syrupy",),
        "def test_own(snapshot):\n    assert DATA[1].tolist() == snapshot\n",
        prepare=("--snapshot-update",),
        check=snapshots,
    ),
    "allure-pytest": Row(
        ("allure_pytest",),
        "import allure\n\ndef test_own():\n    allure.attach('noted', 'by the test')\n",
        ("--alluredir=results",),
        check=allure_results,
    ),
    "pytest-mock": Row(
        ("pytest_mock",),
        """
@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_own(dlperf, mocker):
    spy = mocker.spy(model, "infer")
    dlperf(lambda batch: model.infer(batch), DATA)
    assert spy.call_count
""",
    ),
    "pytest-subtests": Row(
        ("subtests",),
        """
def test_own(subtests):
    for number in range(2):
        with subtests.test(number=number):
            assert number < 2
""",
    ),
    "pytest-order": Row(
        ("pytest_order",),
        "@pytest.mark.order(1)\ndef test_own():\n    pass\n",
        ("-v",),
        check=lambda _, outcome: _first(outcome, "test_own"),
    ),
    "pytest-env": Row(
        ("env",),
        "def test_own():\n    assert os.environ['SIZE'] == 'small'\n",
        ini="env =\n    D:SIZE=small\n",
    ),
    "pytest-instafail": Row(("instafail",), "def test_own():\n    pass\n", ("--instafail",)),
}


def _first(outcome: Outcome, test: str) -> None:
    found = re.findall(r"test_module\.py::(\w+)", outcome.said)
    assert found[0] == test


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with a model, and no tests yet; all plugins are loaded that are installed."""
    made = Project(pytester, monkeypatch)
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    return made


def run(row: Row, *options: str) -> Outcome:
    """Run pytest in a process of its own, with the plugins of a row and ours."""
    others = {entry.name for entry in entry_points(group="pytest11")} - {*row.plugins, *OURS}
    plugins = [word for name in sorted(others) for word in ("-p", f"no:{name}")]
    done = subprocess.run(  # noqa: S603 - no shell
        [sys.executable, "-m", "pytest", *PLUGINS, *plugins, *options],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Outcome(done.returncode, done.stdout + done.stderr)


def test_the_documentation_names_each_row() -> None:
    """The table of the plugins that were tried is that of the matrix."""
    section = DOCUMENTATION.read_text().partition("## Other plugins")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| ")]
    assert [row.removeprefix("| ") for row in rows] == ["plugin", *ROWS]


@beside_others
@pytest.mark.parametrize("name", ROWS)
def test_beside(project: Project, name: str) -> None:
    """The other plugin does its job, in an ordinary run and in a duel, which finds what is slower.

    Only the slower test fails; nothing else is written, and there are no warnings.
    """
    row = ROWS[name]
    there = str(project.top.parent)
    project.write("pytest.ini", INI + row.ini)
    project.write("model.py", MODEL + SLOWER.format(times=1))
    for file, content in row.files:
        project.write(file, content.replace("{path!r}", repr(there + "/timers")))
    project.tests(row.tests.replace("{path!r}", repr(there + "/drawn")) + MEASURED)
    if row.prepare is not None:
        run(row, *row.prepare)
    project.commit()
    ordinary = run(row, "--dlperf-missing=pass", *row.options)

    assert ordinary.counts == {"passed": row.passed, **dict(row.others)}, ordinary.said
    row.check(project, ordinary)
    project.write("model.py", MODEL + SLOWER.format(times=3))
    state = project.git("status", "--porcelain")

    duel = run(row, *AGAINST, *row.options)

    slower = row.passed // 3 if name == "pytest-repeat" else 1
    others = dict(row.others)
    others["failed"] = others.get("failed", 0) + slower
    if row.reruns:
        others["rerun"] += row.reruns
    assert duel.counts == {"passed": row.passed - slower, **others}, duel.said
    assert re.search(r"test_slower.*FAIL", duel.said), duel.said
    assert duel.code == pytest.ExitCode.TESTS_FAILED
    row.check(project, duel)
    assert project.git("status", "--porcelain") == state
    assert not project.leftovers()


def quick(name: str) -> Row:
    """A row in processes of pytest-xdist, without what is written for one process."""
    row = ROWS[name]
    return replace(row, plugins=(*row.plugins, "xdist"), options=(*row.options, "-n2"))


@beside_others
@pytest.mark.parametrize("name", ["pytest-rerunfailures", "pytest-html", "pytest-metadata"])
def test_distributed(project: Project, name: str) -> None:
    """Under `-n 2` there are smoke runs; what measures says why it does not."""
    row = quick(name)
    project.tests(row.tests + MEASURED)
    project.write("model.py", MODEL + SLOWER.format(times=1))

    smoke = run(row, "--dlperf-quick", *row.options)

    assert smoke.counts == {"passed": row.passed, **dict(row.others)}, smoke.said
    row.check(project, smoke)
    measured = run(row, *row.options)
    assert measured.counts["failed"] == 2
    assert "2 pytest-xdist workers share the machine" in measured.said


@beside_others
@pytest.mark.parametrize(
    ("plugin", "options", "ini", "said"),
    [
        ("xdist", ("-n2",), "", ("pytest-xdist", "-n0")),
        ("xdist", (), "addopts = -n2\n", ("pytest-xdist", "-n0")),
        ("xdist", ("-d", "--tx=2*popen"), "", ("pytest-xdist", "--dist=no")),
        ("syrupy", ("--snapshot-update",), "", ("syrupy", "in a run of its own")),
        ("pytest_cov", ("--cov=model",), "", ("--cov", "--no-cov")),
    ],
)
def test_what_cannot_be_combined_with_a_duel(
    project: Project, plugin: str, options: tuple[str, ...], ini: str, said: tuple[str, ...]
) -> None:
    """The error names the plugin and the way out, before anything runs."""
    project.write("pytest.ini", INI + ini)
    project.tests("def test_own():\n    raise AssertionError\n")
    project.commit()

    duel = run(Row((plugin,)), *AGAINST, *options)

    assert duel.code == pytest.ExitCode.USAGE_ERROR, duel.said
    assert "with --dlperf-against" in duel.said
    assert all(text in duel.said for text in said)
    assert "AssertionError" not in duel.said


@beside_others
def test_the_way_out(project: Project) -> None:
    """`-n0` wins over `addopts`."""
    project.write("pytest.ini", INI + "addopts = -n2\n")
    project.write("model.py", MODEL + SLOWER.format(times=1))
    project.tests(MEASURED)
    project.commit()

    duel = run(Row(("xdist",)), *AGAINST, "-n0")

    assert duel.counts == {"passed": 2}, duel.said
