"""Other conditions of measuring: coverage, debuggers, and what else slows Python code down."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from typing import TYPE_CHECKING

import pytest
from git_repositories import git
from plugin_projects import HEADER, measuring, text

if TYPE_CHECKING:
    from plugin_projects import Run

TRACED = """
import sys, threading

def tracer(frame, event, arg):
    return None

def seen_by(batch):
    SEEN.update({sys.gettrace(), threading.gettrace()})
    return identity(batch)

SEEN = set()

@pytest.fixture(autouse=True)
def traced():
    before = sys.gettrace(), threading.gettrace()
    threading.settrace(tracer)
    sys.settrace(tracer)
    yield
    assert (sys.gettrace(), threading.gettrace()) == (tracer, tracer)
    threading.settrace(before[1])
    sys.settrace(before[0])
"""
NOTE = "test_module was suspended while measuring"
RELATIVE = "'throughput >= 0.9 * baseline', 'throughput >= 1/s', **SHORT"
"""A budget against the baseline, and one that always holds."""
CONTEXT = "since the baseline: instrumentation"


def verdicts(pytester: pytest.Pytester) -> list[str]:
    """The verdicts on throughput in the JSON report, in the order of the budgets."""
    report = json.loads((pytester.path / "report.json").read_text())
    (measurement,) = report["measurements"]
    return [one["verdict"] for one in measurement["verdicts"] if one["metric"] == "throughput"]


@pytest.mark.parametrize(
    "call",
    [
        "dlperf(seen_by, DATA)",
        "dlperf.max_rate(seen_by, DATA, slo='p99 <= 50ms', serving=Serving(1))",
        "dlperf.duel(seen_by, seen_by, DATA)",
    ],
)
def test_what_traces_a_test_does_not_trace_its_target(run: Run, call: str) -> None:
    """However it is measured; and the report says so, also if a budget breaks."""
    result = run(TRACED + measuring("", f"{call}; assert SEEN == {{None}}"))

    result.assert_outcomes(passed=1)
    assert NOTE in text(result)


def test_a_broken_budget_restores_the_tracer(run: Run) -> None:
    """The exception leaves it as it was."""
    broken = measuring("'throughput >= 1e12/s', **SHORT")
    result = run(TRACED + broken)

    result.assert_outcomes(failed=1)
    assert NOTE in text(result)


def test_a_debugger_is_no_baseline(
    run: Run, again: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded under one: refused. Compared with a baseline without one: left open."""
    monkeypatch.setenv("PYTHONMALLOC", "debug")
    refused = run(measuring(RELATIVE), "--dlperf-update=all", "--dlperf-json=report.json")
    assert "not recorded: measured under PYTHONMALLOC=debug" in text(refused)
    assert not list(pytester.path.glob(".dlperf/baselines/*/*"))
    assert verdicts(pytester) == ["NEW", "PASS"]

    monkeypatch.delenv("PYTHONMALLOC")
    again("--dlperf-update=all").assert_outcomes(passed=1)
    (stored,) = pytester.path.glob(".dlperf/baselines/*/*.json")
    before = stored.read_text()

    monkeypatch.setenv("PYTHONMALLOC", "debug")
    compared = again("--dlperf-update=all", "--dlperf-json=report.json")
    assert f"{CONTEXT} none -> PYTHONMALLOC=debug" in text(compared)
    assert verdicts(pytester) == ["INCONCLUSIVE", "PASS"]
    assert stored.read_text() == before


def test_a_target_in_a_traced_thread(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that began while everything was traced: its speeds are those of another program."""
    monkeypatch.setattr("pytest_dlperf.instrumentation._BUSY", 0.0)
    monkeypatch.setattr("pytest_dlperf.instrumentation._SHORTEST_NS", 0)
    pool = """
from concurrent.futures import ThreadPoolExecutor

def each_line(frame, event, arg):
    return each_line

@pytest.fixture
def pool():
    threading.settrace(each_line)
    pool = ThreadPoolExecutor(1, thread_name_prefix="pool")
    pool.submit(identity, INPUTS).result()
    yield pool
    pool.shutdown()

@pytest.mark.dlperf("throughput >= 1e12/s", **SHORT)
def test_it(dlperf, pool):
    dlperf(lambda batch: pool.submit(identity, batch).result(), DATA)
"""
    result = run(TRACED.replace("== (tracer, tracer)", "[0] is tracer") + pool)

    assert "INCONCLUSIVE" in text(result)
    assert "measured under test_module in the thread pool_0" in text(result)


@pytest.mark.parametrize("update", ["all", ""])
def test_a_commit_that_git_does_not_tell(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, update: str
) -> None:
    """Said once a run, in git's own words, with the remedy."""
    git(pytester.path, "init", "--quiet")
    git(pytester.path, "commit", "--quiet", "--allow-empty", "--message=first")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    both = measuring() + measuring(name="test_again")

    result = run(both, *([f"--dlperf-update={update}"] if update else ["-q"]))

    result.assert_outcomes(passed=2)
    what = "the baseline" if update else "the history"
    said = text(result)
    assert said.count("dubious ownership") == 1
    assert f"{what} does not say which commit was measured: detected dubious ownership" in said
    assert f"git config --global --add safe.directory {pytester.path}" in said


@pytest.mark.parametrize("options", [[], ["--dlperf-update=all"], ["--dlperf-quick"]])
def test_a_project_without_git(run: Run, pytester: pytest.Pytester, options: list[str]) -> None:
    """Only who records a baseline, which is for others too, is told."""
    result = run(measuring(), *options)

    told = f"does not say which commit was measured: {pytester.path} is in no git repository"
    assert (told in text(result)) is (options == ["--dlperf-update=all"])


@pytest.mark.parametrize("signature", ["dtype=None", "dtype=None, copy=None"])
@pytest.mark.parametrize("call", ["dlperf(tensors, DATA)", "dlperf.duel(tensors, tensors, DATA)"])
def test_tensors_are_read_without_a_warning(run: Run, signature: str, call: str) -> None:
    """PyTorch's know nothing of numpy's argument `copy`; not one call warns of it."""
    tensors = f"""
class Tensor:
    def __init__(self, values):
        self.values = values
    def __array__(self, {signature}):
        return self.values

def tensors(batch):
    return Tensor(identity(batch))
"""
    result = run(tensors + measuring(call=call), "-W", "error::DeprecationWarning")

    result.assert_outcomes(passed=1)
    assert "Deprecat" not in text(result)


STRICT = "error::pytest_dlperf.errors.DlperfWarning"
TRAINED = """
import pytest_dlperf.training.reference_model as of
from pytest_dlperf.training.model_cache import Trained, TrainingSettings

@pytest.fixture(autouse=True, scope="session")
def quickly():
    def train(*_):
        return Trained("a model", TrainingSettings({}, 1.0, 1.0, 1.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of, "imported_backend", lambda: "tensorflow")
        patch.setattr(of, "dense_classifier", lambda *_: None)
        patch.setattr(of, "train", train)
        patch.setattr("pytest_dlperf.targets.keras_models.save", lambda _, path: path.touch())
        yield

def test_it(reference_model, reference_training):
    assert reference_model == "a model"
"""


@pytest.mark.parametrize("strict", [True, False])
def test_a_cache_that_cannot_be_written(
    run: Run, pytester: pytest.Pytester, *, strict: bool
) -> None:
    """A file in its way is a warning, also where warnings are errors; the model is trained."""
    (pytester.path / "taken").write_text("in the way")

    options = ["-o", "cache_dir=taken/cache", *(["-W", STRICT] if strict else [])]
    result = run(TRAINED, *options)

    assert result.parseoutcomes()["passed"] == 1
    assert "DlperfWarning: pytest's cache cannot be used, so trained models are not kept" in text(
        result
    )


def test_no_cache_at_all(run: Run) -> None:
    """Who switches it off is not warned."""
    result = run(TRAINED, "-p", "no:cacheprovider", "-W", STRICT)

    result.assert_outcomes(passed=1)
    assert "DlperfWarning" not in text(result)


@pytest.mark.subprocess
@pytest.mark.real_time
@pytest.mark.skipif(importlib.util.find_spec("pytest_cov") is None, reason="needs pytest-cov")
@pytest.mark.parametrize("arguments", [["--cov=."], ["--cov=.", "--cov-branch"]])
def test_coverage(pytester: pytest.Pytester, arguments: list[str]) -> None:
    """It sees the test's lines before and after a measurement, and not those of the target."""
    source = """
def slow(batch):
    for _ in range(3):
        pass
    return batch

@pytest.mark.dlperf(**SHORT)
def test_it(dlperf):
    before = 1
    dlperf(slow, DATA)
    after = before + 1
    assert after == 2
"""
    path = pytester.makepyfile(test_module=HEADER + source)
    written = path.read_text().splitlines()
    missed = {number for number, line in enumerate(written, 1) if "for _ in" in line}

    result = pytester.run(
        *(sys.executable, "-m", "pytest", "-p", "pytest_cov"),
        *(*arguments, "--cov-report=json", "--dlperf-history=none"),
    )

    result.assert_outcomes(passed=1)
    assert "coverage was suspended while measuring" in text(result)
    report = json.loads((pytester.path / "coverage.json").read_text())
    unseen = set(report["files"]["test_module.py"]["missing_lines"])
    assert missed <= unseen
    assert not any(re.search("after|before", written[number - 1]) for number in unseen)
