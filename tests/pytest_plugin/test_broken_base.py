"""A test that the base has and that cannot be measured there is never green."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from duel_projects import INI, MODEL, Project, junit_cases, text

pytestmark = pytest.mark.subprocess

SLOW = MODEL.replace("100e-6", "10e-3")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with a model, and no tests yet."""
    return Project(pytester, monkeypatch)


def ignoring(project: Project, *names: str) -> None:
    """Have git ignore some files more."""
    path = project.top / ".gitignore"
    path.write_text("".join(f"{line}\n" for line in (*path.read_text().split(), *names)))


def verdicts(path: Path) -> dict[str, list[dict[str, object]]]:
    """The verdicts of each test, as `--dlperf-json` tells them."""
    measurements = json.loads(path.read_text())["measurements"]
    return {one["test"].partition("::")[2]: one["verdicts"] for one in measurements}


CAUSES = """
import importlib

ROWS = Path(__file__).parent / "data" / "rows.npy"

@pytest.fixture
def rows():
    return np.load(ROWS)

@pytest.mark.dlperf(**SHORT)
class TestAll:
    def test_in_the_body(self, dlperf):
        dlperf(model.infer, (np.load("data/rows.npy"), None))

    def test_in_a_fixture(self, dlperf, rows):
        dlperf(model.infer, (rows, None))

    def test_module(self, dlperf):
        importlib.import_module("made.version")
        dlperf(model.infer, DATA)

    def test_skipped(self, dlperf):
        if not ROWS.exists():
            pytest.skip("no data")
        dlperf(model.infer, DATA)

    def test_silent(self, dlperf):
        if ROWS.exists():
            dlperf(model.infer, DATA)

    @pytest.mark.parametrize("path", sorted(ROWS.parent.glob("*.npy")), ids=lambda path: path.name)
    def test_parameters(self, dlperf, path):
        dlperf(model.infer, DATA)

    def test_crash(self, dlperf):
        if not ROWS.exists():
            os._exit(3)
        dlperf(model.infer, DATA)

    def test_good(self, dlperf):
        dlperf(lambda batch: batch.copy(), DATA)
"""


def data(project: Project) -> None:
    """Write what git ignores."""
    import numpy as np

    (project.top / "data").mkdir()
    np.save(project.top / "data" / "rows.npy", np.ones((200, 4), "float32"))
    np.save(project.top / "data" / "other.npy", np.ones((200, 4), "float32"))
    project.write("made/version.py", "")


def test_ignored_files(project: Project) -> None:
    """Each way to depend on them is red, in all channels; brought along all is measured."""
    ignoring(project, "data", "made")
    project.tests(CAUSES)
    project.commit()
    data(project)
    report = project.top.parent / "report.json"
    project.write("model.py", SLOW)

    result = project.duel(f"--dlperf-json={report}", f"--junitxml={report}.xml")

    said = text(result)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=8, passed=1)
    found = verdicts(report)
    for name, judged in found.items():
        relative = {one["verdict"] for one in judged if "baseline" in str(one["budget"])}
        good = name == "TestAll::test_good"
        assert relative == ({"PASS"} if good else {"INCONCLUSIVE"})
        assert {one["base_broken"] for one in judged if one["verdict"] != "PASS"} <= {True}
    lacks = "data/rows.npy is ignored by git, so the base's tree lacks it"
    carry = "bring it along: --dlperf-against-carry=data"
    for name, reason in {
        "in_the_body": f"the test fails at HEAD: FileNotFoundError: .* {lacks} {carry}",
        "in_a_fixture": f"the test cannot be set up at HEAD: FileNotFoundError: .* {lacks} {carry}",
        "module": "the test fails at HEAD: ModuleNotFoundError: .* made/version.py is ignored by",
        "skipped": "the test is skipped at HEAD: no data git does not track data/, made/: .*",
        "silent": "the test ends without measuring at HEAD git does not track data/",
        "parameters[rows.npy]": "the test has no parameters at HEAD git does not track data/",
        "crash": "the base side ended with exit code 3, while running the test",
    }.items():
        (told,) = {one["reason"] for one in found[f"TestAll::test_{name}"] if one["reason"]}
        assert re.match(reason, " ".join(str(told).split())), told
    assert said.count("BudgetFailure: INCONCLUSIVE: throughput >= baseline") == 8
    assert "--dlperf-update" not in said
    junit = {name: ends for (_, name), (ends, _) in junit_cases(Path(f"{report}.xml")).items()}
    assert all(ends == ["failure"] for name, ends in junit.items() if name != "test_good")

    warned = project.duel("--dlperf-base-broken=warn", "-rw", "-k", "body or crash or good")
    warned.assert_outcomes(passed=3, warnings=2, deselected=6)
    budgets = "throughput >= baseline, p95 <= baseline"
    assert f"DlperfWarning: INCONCLUSIVE: {budgets}: the test fails at" in text(warned)

    carried = project.duel("--dlperf-against-carry=data", "--dlperf-against-carry=made")
    carried.assert_outcomes(failed=8, passed=1)
    assert text(carried).count("BudgetFailure: throughput >= baseline, was") == 8
    assert not project.leftovers()


MARKED = """
AT = pytest.mark.skip(reason="not there") if AT_BASE else pytest.mark.speed

@pytest.mark.dlperf(**SHORT)
class TestAll:
    @AT
    def test_marked(self, dlperf):
        dlperf(model.infer, DATA)

    @pytest.mark.skipif(AT_BASE, reason="no GPU")
    def test_on_condition(self, dlperf):
        dlperf(model.infer, DATA)

    @pytest.mark.xfail(AT_BASE, reason="known", run=False)
    def test_known(self, dlperf):
        dlperf(model.infer, DATA)

    def test_other_data(self, dlperf):
        rows = 100 if AT_BASE else 200
        dlperf(lambda batch: batch.copy(), (INPUTS[:rows], DATA[1][:rows]))
"""


def test_markers_at_the_base(project: Project) -> None:
    """One that skips in all cases is a wish, and no error; one on a condition hides a loss."""
    project.write("pytest.ini", f"{INI}markers = speed\n")
    project.tests(MARKED)
    project.commit()
    project.write("notes.npy", "what git does not track")

    result = project.duel("-rw")

    result.assert_outcomes(passed=3, failed=1, warnings=3)
    said = text(result)
    budgets = "throughput >= baseline, p95 <= baseline, accuracy >= baseline"
    open_budget = f"DlperfWarning: INCONCLUSIVE: {budgets}: "
    assert f"{open_budget}the test is skipped at HEAD: not there" in said
    assert f"{open_budget}the test is marked xfail at HEAD: known" in said
    assert "the test is skipped at HEAD: no GPU" in said
    assert "note: the two sides were given different data; git does not track notes.npy: " in said
    assert "the base was measured without notes.npy, which git does not track" in said
    # The candidate says which tests are run.
    selected = project.duel("-m", "speed")
    selected.assert_outcomes(passed=1, deselected=3, warnings=1)
    assert f"{open_budget}the test is skipped at HEAD: not there" in text(selected)


@pytest.mark.parametrize(
    "source", ["import secret", "import os, pytest\nif AT_BASE: os._exit(7)", "raise OSError(7)"]
)
def test_a_conftest_that_fails_at_the_base(project: Project, source: str) -> None:
    """No test can be run there: those that it has are red, a new one is not."""
    ignoring(project, "secret.py")
    guard = "import os\nAT_BASE = 'dlperf-' in os.getcwd()\nif AT_BASE:\n    "
    project.write("conftest.py", guard + source.replace("\n", "\n    ") + "\n")
    project.tests(NEW.replace("new", "old"))
    project.commit()
    project.write("secret.py", "")
    project.tests(NEW.replace("new", "old") + NEW)

    result = project.duel()

    result.assert_outcomes(failed=1, passed=1)
    said = text(result)
    assert "no test can be run at HEAD: the base side " in said
    assert "the test does not exist at HEAD" in said


NEW = """
@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_new(dlperf):
    dlperf(model.infer, DATA)
"""
