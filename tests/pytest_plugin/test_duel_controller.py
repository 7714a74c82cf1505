"""`pytest --dlperf-against=REF`: one ordinary run of pytest that compares two commits."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from duel_projects import MODEL, Project, junit_cases, text

from pytest_dlperf.duel.questions import NOTHING
from pytest_dlperf.pytest_plugin.duel_controller import duel_lines

pytestmark = pytest.mark.subprocess


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with a model, and no tests yet."""
    return Project(pytester, monkeypatch)


ORDINARY = """
NOTES = Path({notes!r})

@pytest.mark.parametrize("rows", [50, 100])
@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_speed(dlperf, rows):
    dlperf(model.infer, (INPUTS[:rows], None))

class TestThings:
    def test_plain(self):
        NOTES.write_text(NOTES.read_text() + os.getcwd() + "\\n")

    def test_red(self):
        print("said before it failed")
        assert model.SECONDS == 0

@pytest.mark.skip(reason="not today")
def test_skipped():
    raise AssertionError

@pytest.mark.xfail(reason="known")
def test_known():
    raise AssertionError

@pytest.fixture
def broken():
    raise RuntimeError("no such thing")

def test_error(broken):
    pass
"""


def test_is_one_ordinary_run(project: Project) -> None:
    """Ids, outcomes, captured output and JUnit are as without a duel.

    What measures nothing is run once, by the candidate.
    """
    notes = project.write("../notes", "")
    project.tests(ORDINARY.format(notes=str(notes)))
    project.commit()
    plain, duel = project.top.parent / "plain.xml", project.top.parent / "duel.xml"
    alone = project.plain(f"--junitxml={plain}")
    notes.write_text("")
    state = project.state()

    result = project.duel_in_real_time(f"--junitxml={duel}")

    assert result.ret == alone.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == alone.parseoutcomes()
    cases, cases_alone = junit_cases(duel), junit_cases(plain)
    for rows in ("50", "100"):
        # Which percentiles there are depends on how many requests were answered.
        for read in (cases, cases_alone):
            ends, properties = read.pop(("test_module", f"test_speed[{rows}]"))
            assert ends == []
            assert {"dlperf.throughput", "dlperf.verdict"} < set(properties)
    assert cases == cases_alone
    assert notes.read_text().splitlines() == [str(project.top)]
    result.stdout.fnmatch_lines(["*Captured stdout call*", "said before it failed"])
    assert "2 measured in turn" in text(result)
    assert project.state() == state
    assert not project.leftovers()


SEVERAL = """
def test_first():
    assert not AT_BASE

def test_second():
    raise AssertionError

def test_third():
    raise AssertionError
"""


def test_selections_and_early_ends(project: Project) -> None:
    """`-k`, a node id, `-x` and `--lf` mean what they mean to pytest."""
    module = project.tests(SEVERAL)
    project.commit()

    project.duel(f"{module}::test_first", f"{module}::test_third").assert_outcomes(
        passed=1, failed=1
    )
    stopped = project.duel("-k", "not first", "-x")
    assert stopped.parseoutcomes() == {"failed": 1, "deselected": 1}
    assert "stopping after 1 failures" in text(stopped)
    project.duel("--lf").assert_outcomes(failed=2)


def test_candidate_that_cannot_be_collected(project: Project) -> None:
    """An error at collection ends the run as it ends any; no test is run."""
    project.tests("def test_it(): pass")
    project.commit()
    project.write("test_broken.py", "import nothing_of_this_name")

    result = project.duel()

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*No module named 'nothing_of_this_name'*"])
    going = project.duel("--continue-on-collection-errors")
    going.assert_outcomes(errors=1, passed=1)

    project.tests(IDENTITY)
    project.git("commit", "--quiet", "--message=measuring", "test_module.py")
    compared = project.duel("--continue-on-collection-errors")
    compared.assert_outcomes(errors=1, passed=1)
    assert "1 measured in turn" in text(compared)


VERDICTS = """
@pytest.fixture(scope="session", autouse=True)
def server():
    mark = Path(os.environ["MARKS"], str(os.getpid()))
    mark.write_text("up")
    yield
    mark.write_text("down")

@pytest.mark.dlperf("throughput >= 0.7 * baseline", "accuracy >= baseline", **HALF)
def test_worse(dlperf):
    dlperf(model.infer, DATA)

@pytest.mark.dlperf("throughput >= 0.01 * baseline", detect="throughput 95%", **SHORT)
def test_equal(dlperf):
    dlperf(lambda batch: batch.copy(), DATA)
"""


def test_each_verdict(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate that is 10 times slower and wrong FAILs twice; an equal one is a PASS.

    All processes tear down their fixtures, also those of further pairs.
    """
    monkeypatch.setenv("MARKS", str(tmp_path))
    monkeypatch.setattr("pytest_dlperf.duel.worker_process._INTERRUPT_SECONDS", 1e3)
    project.tests(VERDICTS)
    project.commit()
    project.write("model.py", MODEL.replace("100e-6", "1e-3").replace("batch.copy", "-batch.copy"))

    result = project.duel()

    result.assert_outcomes(failed=1, passed=1)
    said = text(result)
    found = re.search(r"throughput >= 0.7 \* ([\d,]+)/s ([\d,]+)/s ([\d,]+)/s FAIL", said)
    assert found is not None
    measured, limit, base = (int(one.replace(",", "")) for one in found.groups())
    assert 0 < measured < limit < base
    assert re.search(r"BudgetFailure: throughput .*; accuracy >= baseline, was 0.00 %", said)
    assert re.search(r"test_equal .*PASS", said)
    marks = [mark.read_text() for mark in tmp_path.iterdir()]
    assert set(marks) == {"down"}
    assert len(marks) >= 6


WITHOUT_BASE = """
@pytest.mark.dlperf("throughput >= baseline", "p99 <= 10s", **SHORT)
def test_fails_there(dlperf):
    assert not AT_BASE, "the base cannot do it"
    dlperf(model.infer, DATA)

@pytest.mark.dlperf("throughput >= baseline", "p99 <= 1us", **SHORT)
def test_absolute(dlperf):
    assert not AT_BASE
    dlperf(model.infer, DATA)

@pytest.mark.dlperf("throughput >= baseline", **SHORT)
def test_quiet_there(dlperf):
    if AT_BASE:
        dlperf(model.infer, DATA, name="another")
    else:
        dlperf(model.infer, DATA)

@pytest.mark.dlperf("throughput >= baseline", **SHORT)
def test_one_more_comes_first(dlperf):
    for name in ("one",) if AT_BASE else ("new", "one"):
        dlperf(model.infer, DATA, name=name)
"""

NEW = """
@pytest.mark.dlperf("throughput >= baseline", **SHORT)
def test_new(dlperf):
    dlperf(model.infer, DATA)
"""


def test_measurements_that_the_base_does_not_have(project: Project) -> None:
    """Relative budgets are NEW only where the test or its measurement is; absolute ones judged."""
    project.write("draft.py", "raise RuntimeError('not finished')")
    project.tests(WITHOUT_BASE)
    project.tests("import draft\n" + NEW, "test_draft.py")
    project.commit()
    project.write("draft.py", "")
    project.tests(WITHOUT_BASE + NEW)
    project.tests(NEW, "test_untracked.py")

    result = project.duel("--dlperf-missing=warn", "--dlperf-base-broken=warn")

    result.assert_outcomes(passed=6, failed=1, warnings=7)
    said = text(result)
    assert "BudgetFailure: p99 <= 1us" in said
    new, broken = "NEW: throughput >= baseline: ", "INCONCLUSIVE: throughput >= baseline: "
    assert f"{broken}the test fails at HEAD: AssertionError: the base cannot do it" in said
    assert said.count(f"{new}the test does not make this measurement at HEAD") == 2
    assert f"{broken}the test makes this measurement at HEAD, before one that is not" in said
    assert f"{broken}test_draft.py cannot be collected at HEAD: RuntimeError: not finished" in said
    assert said.count(f"{new}the test does not exist at HEAD") == 2
    assert "record a baseline" not in said

    project.duel().assert_outcomes(passed=3, failed=4)


KINDS = """
@pytest.mark.dlperf(scenario=ClosedLoop(clients=8), duration="0.1s")
def test_several(dlperf):
    dlperf(model.infer, DATA, name="first")
    found = dlperf.sweep(lambda batch: batch.copy(), DATA, clients=(1, 4), duration="0.1s")
    assert found.points
    dlperf(model.infer, DATA, name="second")

@pytest.mark.dlperf(serving=Serving(max_batch_size=8))
def test_rate(dlperf):
    dlperf.max_rate(model.infer, DATA, slo="p90 <= 1ms", duration="0.1s")

@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_models(dlperf):
    dlperf.duel(model.infer, model.infer, DATA)
"""


def test_each_way_to_measure(project: Project) -> None:
    """Names tell measurements apart; what measures by itself may; undecided budgets warn."""
    project.tests(KINDS)
    project.commit()

    result = project.duel("--dlperf-budget-time=20us", "-rw")

    result.assert_outcomes(passed=3)
    said = text(result)
    assert said.count("throughput: 2 pairs, of") == 2
    budgets = "throughput >= baseline, p95 <= baseline"
    assert said.count(f"DlperfWarning: INCONCLUSIVE: {budgets}: 2 pairs, of") == 2


COVERAGE = """
def pytest_addoption(parser):
    parser.addoption("--cov", action="append", default=[], dest="cov_source")
    parser.addoption("--no-cov", action="store_true")
"""


def test_coverage(project: Project) -> None:
    """Code is not traced while it is measured; with `--no-cov` it is the base that is asked for."""
    project.write("conftest.py", COVERAGE)
    project.tests("def test_it(): pass")
    project.commit()

    refused = project.duel("--cov=.")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert "--cov with --dlperf-against" in text(refused)
    allowed = project.duel("--cov=.", "--no-cov", "--dlperf-against=no-such-branch")
    assert "'no-such-branch' names no commit" in text(allowed)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--dlperf-against=no-such-branch"], "no-such-branch"),
        (["--dlperf-update=new"], "--dlperf-update with --dlperf-against"),
        (["--dlperf-quick"], "--dlperf-quick with --dlperf-against"),
        (["--pdb"], "--pdb with --dlperf-against"),
        (["-p", "xdist", "-n2"], "-n with --dlperf-against"),
        (["--dlperf-against-python=/no/python"], "'/no/python' is no program that can be run"),
        (["--dlperf-against-install=false"], "the project cannot be installed in"),
    ],
)
def test_usage_errors(project: Project, options: list[str], problem: str) -> None:
    """What makes no sense is refused before anything runs, and leaves nothing behind."""
    project.tests("def test_it(): raise AssertionError")
    project.commit()
    state = project.state()

    result = project.duel(*options)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert problem in text(result)
    assert "1 failed" not in text(result)
    assert project.state() == state
    assert not project.leftovers()


def test_no_repository(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a git repository there is no commit to compare with."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.top))
    monkeypatch.chdir(project.top.parent)
    Path("test_it.py").write_text("def test_it(): pass")

    result = project.duel("test_it.py")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "not a git repository" in text(result)


IDENTITY = """
@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_it(dlperf, tmp_path):
    (tmp_path / "file").touch()
    dlperf(model.infer, DATA)
    assert (tmp_path / "file").exists()
"""


def test_same_code_on_both_sides_is_refused(project: Project) -> None:
    """A path of the working tree in a conftest leads both sides to it, and is an error."""
    project.write("pytest.ini", "[pytest]\n")
    conftest = f"import sys\nsys.path.insert(0, {str(project.top)!r})\n"
    project.write("tests/conftest.py", conftest)
    project.tests(IDENTITY, "tests/test_module.py")
    project.commit()

    result = project.duel()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = text(result)
    assert f"model ({project.top}/model.py): the base commit's side loaded it" in said
    assert 'pythonpath = ["src"]' in said
    assert not project.leftovers()


LATE = """
def infer(batch):
    import late
    return late.infer(batch)

def test_it(dlperf):
    dlperf(infer, DATA, duration="0.1s")
"""


def test_same_code_that_is_imported_by_a_call_is_refused(project: Project) -> None:
    """Modules that a target imports in its first calls are looked at too."""
    project.write("lib/late.py", "def infer(batch):\n    return batch\n")
    project.write("conftest.py", f"import sys\nsys.path.append({f'{project.top}/lib'!r})\n")
    project.tests(LATE)
    project.commit()

    result = project.duel()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"late ({project.top}/lib/late.py): the base commit's side loaded it" in text(result)


def test_absolute_path_in_pythonpath(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of PYTHONPATH in the working tree is that of the worktree to the base."""
    project.write("pytest.ini", "[pytest]\n")
    monkeypatch.setenv("PYTHONPATH", str(project.top), prepend=":")
    project.tests(IDENTITY, "tests/test_module.py")
    project.commit()

    python, folder = f"--dlperf-against-python={sys.executable}", project.top.parent / "of-tests"
    result = project.duel(python, f"--basetemp={folder}")

    result.assert_outcomes(passed=1)
    assert "1 measured in turn" in text(result)
    folders = list(folder.glob("*/tmp/test_it0"))
    assert len(folders) >= 4, "each side of each pair has its own folder"


INSTALL = """
import os
import site

with open(site.getsitepackages()[0] + "/project.pth", "w") as file:
    file.write(os.getcwd())
"""


def test_environment_of_its_own_for_each_side(project: Project) -> None:
    """What `--dlperf-against-install` installs is what each side runs, from its own tree."""
    project.write("pytest.ini", "[pytest]\n")
    project.write("install.py", INSTALL)
    project.tests(IDENTITY, "tests/test_module.py")
    project.commit()

    result = project.duel("--dlperf-against-install=python install.py")

    result.assert_outcomes(passed=1)
    assert "1 measured in turn" in text(result)
    assert not project.leftovers()


MEASURED = replace(NOTHING, blocks=80, pairs=4, measuring=1.25, starting=2.5)


def summary(*duels: object) -> str:
    """As one line."""
    lines = duel_lines(duels, against="HEAD~1", starting=9.64, seed=7)  # type: ignore[arg-type]  # all are DuelStatistics
    assert all(len(line) <= 80 for line in lines)
    return " ".join(line.strip() for line in lines if line)


def test_what_it_took() -> None:
    """The base, the pairs, the time to start and to measure, and the seed to see it again."""
    assert summary(MEASURED, MEASURED) == (
        "against HEAD~1: both sides started in 9.6 s; 2 measured in turn, on 8 pairs of processes "
        "in 7.5 s; seed 7"
    )
    assert "on 1 pair of processes" in summary(replace(MEASURED, pairs=1))
