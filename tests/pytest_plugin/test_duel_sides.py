"""A side of a duel is an ordinary pytest process to plugins and fixtures, and reports nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from duel_projects import Project, junit_cases, text

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.subprocess


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with a model, and no tests yet."""
    return Project(pytester, monkeypatch)


MEASURED = """
@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_speed(dlperf):
    dlperf(model.infer, DATA)
"""

NOTED = """
NOTES = Path({notes!r})

@pytest.fixture(scope="session", autouse=True)
def note({fixtures}):
    line = [{values}]
    with NOTES.open("a") as file:
        file.write(json.dumps(["base" if AT_BASE else "candidate", *line]) + "\\n")
"""


def noted(project: Project, fixtures: str, values: str) -> Path:
    """Tests of which each process notes some values; returns the file."""
    notes = project.write("../notes", "")
    project.tests(
        "import json\n"
        + NOTED.format(notes=str(notes), fixtures=fixtures, values=values)
        + MEASURED
    )
    return notes


def lines(notes: Path) -> list[list[object]]:
    """What was noted, by side; the same of several pairs once."""
    noted = sorted(set(notes.read_text().splitlines()), key=lambda line: str(json.loads(line)[0]))
    return list(map(json.loads, noted))


def test_nothing_of_xdist(project: Project) -> None:
    """With pytest-xdist installed, a side is as a run without `-n`."""
    notes = noted(
        project,
        "worker_id, testrun_uid, pytestconfig",
        "worker_id, bool(testrun_uid), hasattr(pytestconfig, 'workerinput'), "
        "os.environ.get('PYTEST_XDIST_WORKER')",
    )
    project.commit()

    project.duel("-p", "xdist").assert_outcomes(passed=1)

    ordinary = ["master", True, False, None]
    assert lines(notes) == [["base", *ordinary], ["candidate", *ordinary]]


@pytest.mark.parametrize("plugin", ["dlperf", "pytest_dlperf"])
def test_no_warnings_of_ours(project: Project, plugin: str) -> None:
    """Where every warning is an error, also that modules of plugins were imported too early."""
    project.write("pytest.ini", "[pytest]\npythonpath = .\nfilterwarnings = error\n")
    project.tests(MEASURED)
    project.commit()

    project.duel("-p", plugin).assert_outcomes(passed=1)


ONCE = """
import json
from duel_projects import HEADER

@pytest.fixture(scope="session")
def made(tmp_path_factory):
    file = tmp_path_factory.getbasetemp().parent / "data.json"
    if not file.exists():
        file.write_text(json.dumps(model.SECONDS))
    return json.loads(file.read_text())

@pytest.mark.parametrize("number", [1, 2])
def test_made_once(made, number):
    assert made == model.SECONDS

@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_of_both(dlperf, made):
    assert made == model.SECONDS
    dlperf(model.infer, DATA)
"""


@pytest.mark.parametrize("given", [True, False])
def test_data_made_only_once_is_each_sides_own(project: Project, *, given: bool) -> None:
    """The recipe in the manual of pytest-xdist, without its lock; with and without `--basetemp`."""
    project.tests(ONCE.replace("from duel_projects import HEADER\n", ""))
    project.commit()
    model = project.top / "model.py"
    model.write_text(model.read_text().replace("100e-6", "110e-6"))
    folder = project.top.parent / "of-tests"

    result = project.duel(*([f"--basetemp={folder}"] if given else []))

    result.assert_outcomes(passed=3)
    if given:
        found = sorted(path.parent.name.partition("-")[0] for path in folder.glob("*/data.json"))
        assert set(found) == {"base", "candidate"}
        assert found.count("base") == found.count("candidate") >= 2


ENVIRONMENT = """
import os
os.environ.setdefault("SIZE", "{size}")
"""


def test_what_a_conftest_sets_is_each_sides_own(project: Project) -> None:
    """Variables that the candidate's conftest sets by default do not win over the base's."""
    project.write("conftest.py", ENVIRONMENT.format(size="small"))
    notes = noted(project, "", "os.environ['SIZE']")
    project.commit()
    project.write("conftest.py", ENVIRONMENT.format(size="large"))

    project.duel().assert_outcomes(passed=1)

    assert lines(notes) == [["base", "small"], ["candidate", "large"]]


SEEDED = """
import random

def pytest_addoption(parser):
    parser.addoption("--randomly-seed", dest="randomly_seed", default=None, type=int)

def pytest_configure(config):
    if config.option.randomly_seed is None:
        config.option.randomly_seed = random.getrandbits(32)
"""


def test_a_seed_that_is_drawn_is_the_same_on_all_sides(project: Project) -> None:
    """As of pytest-randomly: both sides work on the same random data."""
    project.write("conftest.py", SEEDED)
    notes = noted(project, "pytestconfig", "pytestconfig.option.randomly_seed")
    project.commit()

    project.duel().assert_outcomes(passed=1)

    found = lines(notes)
    assert {role for role, _ in found} == {"base", "candidate"}
    assert len({seed for _, seed in found}) == 1


CACHE = """
@pytest.fixture
def known(pytestconfig):
    pytestconfig.cache.set("project/side", "changed")
    return pytestconfig.cache.get("project/known", None)

def test_passes(known):
    assert known == 7

def test_fails(pytestconfig):
    (pytestconfig.cache.mkdir("data") / "file").touch()
    raise AssertionError

def test_others():
    pass
"""


def test_pytests_cache_is_the_controllers(project: Project) -> None:
    """A side reads the user's cache; its values are dropped: one process writes the last ones."""
    project.tests(CACHE + MEASURED)
    project.commit()
    values = project.top / ".pytest_cache" / "v"
    project.write(".pytest_cache/v/project/known", "7")

    project.duel("--sw-skip").assert_outcomes(passed=3, failed=1)

    failed = json.loads((values / "cache" / "lastfailed").read_text())
    assert list(failed) == ["test_module.py::test_fails"]
    assert not (values / "project" / "side").exists()
    assert (project.top / ".pytest_cache" / "d" / "data" / "file").exists()
    project.duel("--lf").assert_outcomes(failed=1)


SPLIT = """
import pytest

@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    half = len(items) // 2
    config.hook.pytest_deselected(items=items[:half])
    items[:] = items[half:]
"""


def test_the_base_has_the_tests_that_the_candidate_selects(project: Project) -> None:
    """Where a plugin selects by how many tests there are, the base has them all."""
    project.write("conftest.py", SPLIT)
    project.tests(MEASURED + "def test_other():\n    pass\n")
    project.commit()
    project.tests("def test_new():\n    pass\n" + MEASURED)

    result = project.duel("--dlperf-missing=fail")

    result.assert_outcomes(passed=1, deselected=1)
    assert "1 measured in turn" in text(result)


STOPPING = """
def test_one(request):
    request.session.{which} = "enough of this"

def test_two():
    pass
"""


@pytest.mark.parametrize(
    ("which", "code"),
    [
        ("shouldstop", pytest.ExitCode.INTERRUPTED),
        ("shouldfail", pytest.ExitCode.TESTS_FAILED),
    ],
)
def test_a_session_that_is_stopped_by_a_test(
    project: Project, which: str, code: pytest.ExitCode
) -> None:
    """What a fixture or a plugin stops in the candidate is the run."""
    project.tests(STOPPING.format(which=which))
    project.commit()

    result = project.duel()

    result.assert_outcomes(passed=1)
    assert result.ret == code
    assert "enough of this" in text(result)


REPORTING = """
import pytest

def pytest_addoption(parser):
    parser.addoption("--stream", dest="unheard_of_stream")
    parser.addoption("--at-end", dest="unheard_of_report")

class Stream:
    def __init__(self, path):
        self.file = open(path, "w", buffering=1)

    def pytest_runtest_logreport(self, report):
        self.file.write(f"{report.nodeid} {report.when}\\n")

class AtEnd:
    def __init__(self, path):
        self.path, self.tests = path, []

    def pytest_runtest_logreport(self, report):
        self.tests.append(f"{report.nodeid} {report.when}\\n")

    def pytest_sessionfinish(self):
        with open(self.path, "w") as file:
            file.writelines(self.tests)

def pytest_configure(config):
    option = config.option
    for kind, path in (Stream, option.unheard_of_stream), (AtEnd, option.unheard_of_report):
        if path:
            config.pluginmanager.register(kind(path))
"""


@pytest.mark.parametrize("option", ["--stream", "--at-end"])
def test_reports_of_plugins_that_are_not_known(project: Project, option: str) -> None:
    """A report is the controller's, whether it is written while tests run or at the end."""
    project.write("conftest.py", REPORTING)
    project.tests(MEASURED + "def test_other():\n    pass\n")
    project.commit()
    report = project.top.parent / "report"

    project.duel(f"{option}={report}").assert_outcomes(passed=2)

    assert report.read_text().splitlines() == [
        f"test_module.py::{test} {when}"
        for test in ("test_speed", "test_other")
        for when in ("setup", "call", "teardown")
    ]


def test_logs_are_those_of_the_tests_that_are_reported(project: Project) -> None:
    """`--log-file` and `--junitxml` have each test once."""
    project.tests(
        "import logging\n"
        + MEASURED.replace("    dlperf(", "    logging.error('of it')\n    dlperf(")
    )
    project.commit()
    log, junit = project.top.parent / "log", project.top.parent / "junit.xml"

    project.duel(f"--log-file={log}", f"--junitxml={junit}")

    assert log.read_text().count("of it") == 1
    assert list(junit_cases(junit)) == [("test_module", "test_speed")]


def test_a_test_that_ends_the_session(project: Project) -> None:
    """`pytest.exit` in a side costs that test, and is said."""
    project.tests("def test_one():\n    pytest.exit('enough')\n\ndef test_two():\n    pass\n")
    project.commit()

    result = project.duel()

    result.assert_outcomes(errors=1, passed=1)
    assert "the candidate side ended its session while running the test" in text(result)
    assert "Exit: enough" in text(result)


RERUN = """
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    for attempt in range(3):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        again = attempt < 2 and any(report.failed for report in reports)
        for report in reports:
            if again and report.failed:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
        if not again:
            break
        item._initrequest()
    return True
"""

FLAKY = """
ATTEMPTS = []

def flaky(batch):
    if not AT_BASE and len(ATTEMPTS) < 2:
        raise RuntimeError("not yet")
    return model.infer(batch)

@pytest.mark.dlperf("throughput >= 0.9 * baseline", **HALF)
def test_slow(dlperf):
    dlperf(model.infer, DATA)

@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_flaky_target(dlperf):
    ATTEMPTS.append("one")
    dlperf(flaky, DATA)

@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_flaky_after(dlperf):
    ATTEMPTS.append("other")
    dlperf(model.infer, DATA)
    assert ATTEMPTS.count("other") == 2
"""


def test_a_test_that_is_run_again(project: Project) -> None:
    """A loss that is proven stays one; what is flaky gets another attempt, with the base's.

    A test that is measured has one verdict, and is never judged without the base that it has.
    """
    project.write("conftest.py", RERUN)
    project.tests(FLAKY)
    project.commit()
    project.write("model.py", (project.top / "model.py").read_text().replace("100e-6", "1e-3"))

    result = project.duel("--dlperf-missing=fail", "-rA")

    said = text(result)
    assert result.parseoutcomes()["failed"] == 1, said
    assert result.parseoutcomes()["passed"] == 2, said
    assert "FAILED test_module.py::test_slow" in said
    assert "3 measured in turn" in said


TORN = """
@pytest.fixture
def server():
    first = Path({notes!r}, "base" if AT_BASE else "candidate")
    further = first.exists()
    first.touch()
    yield
    if further or AT_BASE:
        raise OSError("the port is\\nnot closed")

@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_speed(dlperf, server):
    dlperf(model.infer, DATA)
"""


def test_teardowns_that_fail_where_nothing_is_reported(project: Project) -> None:
    """They are told once of each side, also of the last pair; what was measured before counts."""
    notes = project.top.parent / "notes"
    notes.mkdir()
    project.tests(TORN.replace("{notes!r}", repr(str(notes))))
    project.commit()

    result = project.duel()

    result.assert_outcomes(passed=1, warnings=2)
    said = " ".join(text(result).split())
    for side in ("base", "candidate"):
        told = (
            f"test_module.py::test_speed: the {side} side is not torn down well, though it was "
            "measured: OSError: the port is (test_module.py:"
        )
        assert said.count(told) == 1
