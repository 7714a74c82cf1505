"""Each verdict, as a user of pytest sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from builders import make_judgement, make_record
from plugin_projects import assert_no_frame_of_ours, measuring, text

from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from plugin_projects import Run

    from pytest_dlperf.results.record import Record

RELATIVE = measuring('"throughput >= 0.5 * baseline", **SHORT')
POLICIES = [
    ("pass", {"passed": 1}),
    ("warn", {"passed": 1, "warnings": 1}),
    ("fail", {"failed": 1}),
]


def test_pass(run: Run) -> None:
    """A budget that is held: a green test, and a row in the summary."""
    result = run("""
@pytest.mark.dlperf("p99 <= 10s", "accuracy >= 90%", **SHORT)
def test_it(dlperf):
    m = dlperf(identity, DATA)
    assert m.accuracy == 1.0
    assert m["p99"].low <= m.p99 <= m["p99"].high
""")

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines(
        [r"=+ dlperf: \S+ =+", r"measurement .*verdict", r"test_it .*PASS"]
    )


def test_fail(run: Run) -> None:
    """A broken budget: the test itself fails, at the user's line, with the table in 80 columns."""
    name = "test_with_a_rather_long_name_that_does_not_fit"
    budgets = '"p99 <= 1ns", "throughput >= 1/s", "accuracy >= baseline - 0.5pt"'
    result = run(measuring(f"{budgets}, **SHORT", name=name))

    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r">       dlperf\(identity, DATA\)",
            r"E       pytest_dlperf.BudgetFailure: p99 <= 1ns, was .*s",
            r"E       budget .*measured .*limit .*baseline .*verdict",
            r"E       p99 <= 1ns .* 1 ns .* FAIL",
            r"E       throughput >= 1/s .* PASS",
            r"E .*in the queue and",
            r"test_module.py:\d+: BudgetFailure",
        ]
    )
    assert_no_frame_of_ours(result)
    start = next(i for i, line in enumerate(result.outlines) if line.startswith("E "))
    for line in result.outlines[start:]:
        assert "\x1b" not in line
        if "BudgetFailure" not in line and "FAILED" not in line and "--dlperf-update" not in line:
            assert len(line) <= 80, line


SLOW_ONCE = """
SLOW = {slow}
LOADS = iter(range(100))

class Target:
    def __init__(self):
        self.factor = 1

    def infer(self, batch):
        spend(200e-6 * self.factor)
        return batch.copy()

TARGET = Target()
measured = PreparedTarget.measure

def slow_at_times(self, *args):
    TARGET.factor = 100 if next(LOADS) in SLOW else 1
    return measured(self, *args)

@pytest.fixture(autouse=True)
def loads(monkeypatch):
    monkeypatch.setattr(PreparedTarget, "measure", slow_at_times)
"""

AGAIN = "to confirm what broke throughput >= 5000/s; shown is the first load"


@pytest.mark.parametrize(
    ("slow", "outcomes", "shown"),
    [
        ((), {"passed": 1}, []),
        (
            (0,),
            {"passed": 1, "warnings": 1},
            ["INCONCLUSIVE", "beyond the limit in only one of two measurements: ", AGAIN],
        ),
        ((0, 1), {"failed": 1}, ["FAIL", "measured twice: ", AGAIN]),
        ((1,), {"passed": 1}, []),
    ],
)
def test_a_second_look(
    run: Run, slow: tuple[int, ...], outcomes: dict[str, int], shown: list[str]
) -> None:
    """A target that was slow in one load of two is not red; one that was in both is."""
    source = "from pytest_dlperf.measure.measure import PreparedTarget\n"
    source += SLOW_ONCE.replace("{slow}", repr(slow))
    result = run(source + measuring('"throughput >= 5000/s", **SHORT', "dlperf(TARGET, DATA)"))

    result.assert_outcomes(**outcomes)
    assert all(words in text(result) for words in shown)
    assert (AGAIN in text(result)) is bool(shown)


def test_what_a_pass_excludes(run: Run, again: Run, pytester: pytest.Pytester) -> None:
    """A PASS against a stored baseline names the loss, in the summary and in JSON."""
    run(RELATIVE, "--dlperf-update=new").assert_outcomes(passed=1)

    result = again("--dlperf-json=out.json")

    result.assert_outcomes(passed=1)
    line = r"  throughput: a loss of (\d+\.\d) % or more is excluded"
    result.stdout.re_match_lines([r"test_it .*PASS", line])
    (measurement,) = json.loads((pytester.path / "out.json").read_text())["measurements"]
    verdict = next(one for one in measurement["verdicts"] if one["metric"] == "throughput")
    assert 0 < verdict["excluded"] < 0.5
    assert 1 - verdict["excluded"] == pytest.approx(verdict["change"]["low"])
    assert verdict["proven"] is None


@pytest.mark.parametrize(
    ("marker", "counts"),
    [("**SHORT", [6, 18, 36]), ('"throughput >= baseline", "p99 <= baseline"', [4, 12, 24])],
)
def test_duels_of_models_share_one_error_rate(
    run: Run, monkeypatch: pytest.MonkeyPatch, marker: str, counts: list[int]
) -> None:
    """Three in a test have 1/2, 1/6 and 1/12 of its rate, and three default budgets a third of it.

    So all of them together are one of the run's budgets, or two where the test has two.
    """
    budgets: list[float] = []

    def duel_candidates(*_: object, rates: ErrorRates, **__: object) -> Record:
        budgets.append(rates.budgets)
        return make_record()

    monkeypatch.setattr("pytest_dlperf.pytest_plugin.dlperf.duel_candidates", duel_candidates)
    calls = "\n    ".join(f"dlperf.duel(identity, identity, DATA, name={n!r})" for n in "abc")

    run(measuring(marker, calls)).assert_outcomes(passed=1)

    assert budgets == pytest.approx(counts)


def test_new(run: Run) -> None:
    """Without a baseline a relative budget is NEW: green, with the way to record one."""
    result = run(RELATIVE)

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines(
        [r"test_it .*NEW", r".*no baseline yet on this machine class", r".*--dlperf-update=new"]
    )


@pytest.mark.parametrize(("policy", "outcomes"), POLICIES)
def test_missing_baseline_policy(run: Run, policy: str, outcomes: dict[str, int]) -> None:
    """`--dlperf-missing` says what a missing baseline does to the test."""
    result = run(RELATIVE, f"--dlperf-missing={policy}")

    result.assert_outcomes(**outcomes)
    if policy == "warn":
        result.stdout.fnmatch_lines(["*DlperfWarning: NEW: throughput >= 0.5 * baseline*"])


@pytest.mark.parametrize(("policy", "outcomes"), POLICIES)
def test_inconclusive(run: Run, policy: str, outcomes: dict[str, int]) -> None:
    """An interval that holds the limit decides nothing; the policy decides what that does."""
    result = run(
        """
def one_wrong(batch):
    spend(200e-6)
    out = batch.copy()
    out[np.isclose(batch, INPUTS[0]).all(axis=1)] = np.roll(INPUTS[0], 1)
    return out
"""
        + measuring('"accuracy >= 99.5%", **SHORT', "dlperf(one_wrong, DATA)"),
        f"--dlperf-inconclusive={policy}",
    )

    result.assert_outcomes(**outcomes)
    result.stdout.re_match_lines([r"(E  +)?.*INCONCLUSIVE", r".*it would have been"])


@pytest.mark.parametrize(
    ("budget", "call"),
    [
        ("throughput >= 0.5 * baseline", "dlperf(identity, DATA)"),
        (
            "max_rate >= 0.5 * baseline",
            'dlperf.max_rate(identity, DATA, slo="p50 <= 1ms", serving=Serving(4))',
        ),
        ("errors <= 1%", "dlperf.sweep(identity, DATA, clients=(1,))"),
    ],
)
def test_warnings_point_at_the_test(
    run: Run,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    budget: str,
    call: str,
) -> None:
    """An open verdict warns with the line of the call in the test, not with one of ours."""
    # Only a sweep judges here, and errors, which are counted, leave no verdict open.
    still_open = make_judgement(Verdict.INCONCLUSIVE, budget=budget)
    monkeypatch.setattr("pytest_dlperf.pytest_plugin.dlperf.judge", lambda *_: (still_open,))

    result = run(
        measuring(f'"{budget}", duration="0.1s"', f"{call}  # the call"), "--dlperf-missing=warn"
    )

    result.assert_outcomes(passed=1, warnings=1)
    lines = (pytester.path / "test_module.py").read_text().splitlines()
    number = next(number for number, line in enumerate(lines, 1) if "# the call" in line)
    result.stdout.re_match_lines([rf".*test_module.py:{number}: DlperfWarning: .*"])


def test_several_measurements_of_a_test(run: Run) -> None:
    """Each name is a row."""
    result = run("""
def test_two(dlperf):
    dlperf(identity, DATA, name="first", **SHORT)
    dlperf(identity, DATA, name="second", scenario=SingleStream(), duration="0.2s")
""")

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"test_two \[first\]"])


def test_tests_of_other_jobs_share_the_error_rate(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is collected counts, whatever a job then leaves to others."""
    counts: list[float] = []
    shared = ErrorRates.shared

    def seen(rates: ErrorRates, share: float) -> ErrorRates:
        counts.append(rates.budgets)
        return shared(rates, share)

    monkeypatch.setattr(ErrorRates, "shared", seen)
    source = "".join(
        measuring("**SHORT", "dlperf.duel(identity, identity, DATA)", f"test_{name}")
        for name in ("one", "two", "three")
    )
    monkeypatch.setattr(
        "pytest_dlperf.pytest_plugin.dlperf.duel_candidates", lambda *_, **__: make_record()
    )

    run(source, "-k", "two").assert_outcomes(passed=1, deselected=2)

    assert counts == [3]
