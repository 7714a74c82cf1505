"""Escalation: what the stored baseline leaves in doubt is settled by a duel with its commit."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from builders import make_judgement, make_measurement, make_record
from duel_projects import PLUGINS, simulate_workers
from git_repositories import git
from plugin_projects import text

from pytest_dlperf.duel.escalation import Escalation
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_dlperf.results.record import Record


SOURCE = """
def work(batch):
    spend(200e-6)
    return batch.copy()

@pytest.mark.dlperf("throughput >= 0.9 * baseline",
                    scenario=ClosedLoop(clients=8), duration="0.3s", budget_time="1s")
def test_it(dlperf):
    dlperf(work, DATA)
"""


def baseline_file(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The only file of baselines, and its content."""
    (path,) = folder.glob(".dlperf/baselines/*/*.json")
    return path, json.loads(path.read_text())


@pytest.fixture
def recorded(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> Callable[[float], str]:
    """Record a baseline of a commit, then say that it had been so much faster."""

    def record(factor: float) -> str:
        for old in pytester.path.glob(".dlperf/baselines/*/*.json"):
            old.unlink()
        git(pytester.path, "init", "--quiet")
        (pytester.path / ".gitignore").write_text("__pycache__\n.dlperf\n")
        pytester.makepyfile(test_module="")
        run(SOURCE, "--collect-only")
        git(pytester.path, "add", "-A")
        git(pytester.path, "commit", "--quiet", "--allow-empty", "-m", "a commit")
        base = git(pytester.path, "rev-parse", "HEAD").strip()
        run(SOURCE, "--dlperf-update=new").assert_outcomes(passed=1)
        path, value = baseline_file(pytester.path)
        (session,) = value["measurements"][""]["sessions"]
        assert session["commit"] == base
        ends = session["metrics"]["throughput"]
        session["metrics"]["throughput"] = [end * factor for end in ends]
        path.write_text(json.dumps(value))
        return base

    return record


def test_a_suspicion_says_how_to_settle_it(
    recorded: Callable[[float], str], again: Callable[..., pytest.RunResult]
) -> None:
    """Without a second look: a warning, and the command that measures both commits in turn."""
    base = recorded(10.0)

    result = again("--dlperf-escalate=never")

    result.assert_outcomes(passed=1, warnings=1)
    said = " ".join("\n".join(result.outlines).split())
    assert "INCONCLUSIVE: throughput >= 0.9 * baseline: suspected: one session alone" in said
    assert f"measure both commits in turn: --dlperf-against={base[:8]}" in said


def test_an_open_budget_says_it_too(
    recorded: Callable[[float], str], again: Callable[..., pytest.RunResult]
) -> None:
    """In the summary, since the test passes."""
    base = recorded(1.1)

    result = again()

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["test_it: measure both commits in turn:*"])
    assert f"--dlperf-against={base[:8]}" in "\n".join(result.outlines)


def test_a_commit_that_is_gone_is_not_offered(
    recorded: Callable[[float], str],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
) -> None:
    """A way that does not work is no advice."""
    recorded(10.0)
    path, value = baseline_file(pytester.path)
    value["measurements"][""]["sessions"][0]["commit"] = "0" * 40
    path.write_text(json.dumps(value))

    result = again("--dlperf-escalate")

    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*--dlperf-against*")
    assert "measured again in a fresh process" in text(result)


@pytest.mark.subprocess
def test_what_the_duel_does_not_confirm_has_another_cause(
    recorded: Callable[[float], str],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unchanged code on a machine that has become slower is left open, and it is said why.

    Other programs are told by this run alone, not by the duel's too.
    """
    recorded(10.0)
    summary = pytester.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    simulate_workers(monkeypatch)

    result = again(*PLUGINS, "--dlperf-escalate", "--dlperf-json=out.json")

    result.assert_outcomes(passed=1)
    assert result.ret == 0
    result.stdout.re_match_lines(
        [
            r"test_it .*INCONCLUSIVE",
            r".*something else has changed",
            r".*against the stored baseline: throughput FAIL; so both",
            r".*measured in turn with the base: \d+ pairs",
        ]
    )
    assert summary.read_text().count("### dlperf: ") == 1


@pytest.fixture
def duels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Duels that all confirm a loss, without a process; the list says over what."""
    asked: list[str] = []

    def duel(_: object, test: str, commit: str) -> dict[str, Record]:
        asked.append(f"{test} {commit}")
        budget = "throughput >= 0.9 * baseline"
        lost = make_judgement(
            Verdict.FAIL,
            budget=budget,
            baseline=5000.0,
            change=Estimate(0.7, 0.6, 0.8),
            measured=Estimate(4321.0, 4300.0, 4350.0),
            revision=f"{commit[:8]}, 2026-11-23",
        )
        found = make_measurement(test=test, notes=("measured in turn with the base: 9 blocks",))
        # A budget of its own, which no comparison settles.
        own = make_judgement(
            Verdict.INCONCLUSIVE,
            budget="p99 <= 20ms",
            metric="p99",
            reason="too short",
            lasting=True,
        )
        record = make_record(own, lost, measurement=found)
        return dict.fromkeys(("", "a", "b"), dataclasses.replace(record, duel={"blocks": 9}))

    monkeypatch.setattr(Escalation, "duel", duel)
    return asked


def test_a_fail_that_the_duel_confirms_is_red(
    recorded: Callable[[float], str],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    duels: list[str],
) -> None:
    """A loss is a loss, and the failure shows the duel's figures."""
    base = recorded(10.0)

    result = again("--dlperf-escalate", "--dlperf-json=out.json")

    result.assert_outcomes(failed=1)
    assert duels == [f"test_module.py::test_it {base}"]
    result.stdout.re_match_lines(
        [
            r".*BudgetFailure: throughput >= 0.9 \* baseline",
            r"E .*measured in turn with the base: 9 blocks",
            rf"E +git diff {base[:8]}",
        ]
    )
    (measurement,) = json.loads((pytester.path / "out.json").read_text())["measurements"]
    verdict = next(one for one in measurement["verdicts"] if one["metric"] == "throughput")
    assert verdict["change"]["high"] == 0.8
    assert measurement["metrics"]["throughput"]["value"] == 4321.0
    assert measurement["hints"] == []


def test_a_duel_without_a_base_leaves_it_to_a_fresh_process(
    recorded: Callable[[float], str],
    again: Callable[..., pytest.RunResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is said why there is no duel; what both sessions prove is no loss of this very code."""
    alone = make_judgement(
        Verdict.INCONCLUSIVE,
        budget="throughput >= 0.9 * baseline",
        reason="the test fails at 0123abcd: OSError: no data",
        lasting=True,
        base_broken=True,
    )
    monkeypatch.setattr(Escalation, "duel", lambda *_: {"": make_record(alone)})
    recorded(10.0)

    result = again("--dlperf-escalate")

    result.assert_outcomes(passed=1, warnings=1)
    said = text(result)
    assert "both commits cannot be measured in turn: the test fails at 0123abcd: OSError" in said
    assert "the code is that of the baseline, but two sessions are far from the stored" in said


def test_what_is_in_no_doubt_is_not_measured_again(
    recorded: Callable[[float], str], again: Callable[..., pytest.RunResult], duels: list[str]
) -> None:
    """A gain passes; what is accepted needs no proof."""
    recorded(0.1)
    again("--dlperf-escalate").assert_outcomes(passed=1)
    recorded(10.0)
    again("--dlperf-escalate", "--dlperf-update=all").assert_outcomes(passed=1)

    assert duels == []


def test_one_duel_settles_all_measurements_of_a_test(
    recorded: Callable[[float], str],
    run: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    duels: list[str],
) -> None:
    """A test is run in turn once, however many of its measurements are in doubt."""
    recorded(10.0)
    path, value = baseline_file(pytester.path)
    (entry,) = value["measurements"].values()
    value["measurements"] = {"a": entry, "b": entry}
    path.write_text(json.dumps(value))
    two = """with pytest.raises(AssertionError):
        dlperf(work, DATA, name="a")
    dlperf(work, DATA, name="b")"""

    result = run(SOURCE.replace("dlperf(work, DATA)", two), "--dlperf-escalate")

    result.assert_outcomes(failed=1)
    assert len(duels) == 1


@pytest.mark.subprocess
def test_a_second_look_that_comes_to_nothing_proves_nothing(
    recorded: Callable[[float], str],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
) -> None:
    """It stays a suspicion, and what the processes said is shown."""
    recorded(10.0)
    guard = 'if any("--dlperf-json" in a for a in sys.argv): raise RuntimeError("not twice")'
    pytester.makeconftest(f"import sys\n{guard}\n")

    result = again("--dlperf-escalate")

    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*came to nothing:*", "*came to nothing:*"])
    said = "\n".join(result.outlines)
    assert said.count(f"\n        {guard}\n") == 2  # aligned, and not wrapped
    assert "suspected: one session alone does not prove it" in " ".join(said.split())
