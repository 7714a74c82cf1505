"""`dlperf.duel(base, candidate, data)`: two models of one process, as a user of pytest sees it.

A call takes a known time with 1 % of noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from plugin_projects import text

if TYPE_CHECKING:
    from collections.abc import Callable

TARGETS = """
SLOTTED = dict(scenario=ClosedLoop(clients=8), serving=Serving(8), duration="0.5s")

def working(milliseconds, answer=np.copy):
    def infer(batch):
        spend(milliseconds / 1000)
        return answer(batch)
    return infer

def wrong(batch):
    return batch[:, ::-1].copy()

"""


@pytest.fixture
def duel(run: Callable[..., pytest.RunResult]) -> Callable[..., pytest.RunResult]:
    """Write a test module with targets that take a known time, and run pytest on it."""

    def run_duel(source: str, *options: str) -> pytest.RunResult:
        return run(TARGETS + source, "--dlperf-seed=1", *options)

    return run_duel


VERDICTS = """
def measured_in_turn(measurement):
    return any("measured in turn with the base" in note for note in measurement.notes)

@pytest.mark.dlperf("throughput >= baseline", **SLOTTED)
@pytest.mark.parametrize("work", [(1, 1), (1, 1.1), (1.1, 1)], ids=["equal", "slower", "faster"])
def test_work(dlperf, work):
    base, candidate = work
    m = dlperf.duel(working(base), working(candidate), DATA)
    assert m.accuracy == 1.0
    assert m.throughput > 0
    assert measured_in_turn(m)

@pytest.mark.dlperf("accuracy >= baseline", "throughput >= 0.5 * baseline", **SLOTTED)
def test_wrong(dlperf):
    dlperf.duel(working(1), working(1, wrong), DATA)

@pytest.mark.dlperf("p50 <= 2ms", "throughput >= 0.1 * baseline", **SLOTTED)
@pytest.mark.parametrize("slower", ["base", "candidate"])
def test_absolute(dlperf, slower):
    base, candidate = (4, 1) if slower == "base" else (1, 4)
    dlperf.duel(working(base), working(candidate), DATA)

@pytest.mark.dlperf("throughput >= 0.8 * baseline", **SLOTTED)
def test_names(dlperf):
    dlperf.duel(working(1), working(1), DATA, name="same")
    dlperf.duel(working(1), working(1.1), DATA, name="allowed")
"""


def test_verdicts(duel: Callable[..., pytest.RunResult]) -> None:
    """A tenth more work fails where no loss is allowed, at the user's line; wrong answers fail.

    Absolute budgets are the candidate's; two duels of a test are told apart by name.
    """
    result = duel(VERDICTS)

    result.assert_outcomes(passed=4, failed=3)
    result.stdout.re_match_lines(
        [
            r">       m = dlperf\.duel\(working\(base\), working\(candidate\), DATA\)",
            r"E       pytest_dlperf.BudgetFailure: throughput >= baseline",
            r"E       throughp.*FAIL",
            r"E       note: measured in turn with the base: \d+ pairs on one processor, \d+",
            r"E       pytest_dlperf.BudgetFailure: accuracy >= baseline",
            r"E       accuracy .*FAIL",
            r"E       throughp.*PASS",
            r"E  .*p50 <= 2ms .*FAIL",
        ]
    )
    result.stdout.re_match_lines_random(
        [
            r"test_work\[equal\] .*PASS",
            r"test_work\[slower\] .*FAIL",
            r"test_work\[faster\] .*PASS",
            r"test_absolute\[base\] .*PASS",
            r"test_absolute\[candidate\] .*FAIL",
            r"test_names \[same\] .*PASS",
            r"test_names \[allowed\] .*PASS",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_plugin/dlperf.py*")


def test_without_a_marker_no_loss_is_asked_for(duel: Callable[..., pytest.RunResult]) -> None:
    """Throughput, p95 and accuracy are judged; half as much work again fails by speed alone."""
    result = duel(
        """
def test_it(dlperf):
    dlperf.duel(working(1), working(1.5), DATA, scenario=ClosedLoop(8), duration="0.5s")
"""
    )

    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines_random(
        [
            r"E       throughp.*FAIL",
            r"E       p95 .*FAIL",
            r"E       accuracy .*PASS",
        ]
    )


def test_a_smoke_run_judges_answers_only(duel: Callable[..., pytest.RunResult]) -> None:
    """`--dlperf-quick`: both are called, errors are judged, and no slot is measured."""
    result = duel(
        """
@pytest.mark.dlperf("throughput >= baseline", **SLOTTED)
def test_it(dlperf):
    m = dlperf.duel(working(1), working(100), DATA)
    assert not any("in turn" in note for note in m.notes)

def test_nothing_asked(dlperf):
    dlperf.duel(working(1), working(100, wrong), DATA)

def failing(batch):
    raise ValueError("no such weights")

def test_error(dlperf):
    dlperf.duel(working(1), failing, DATA)
""",
        "--dlperf-quick",
    )

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*no such weights*"])


def test_errors_in_slots_fail(duel: Callable[..., pytest.RunResult]) -> None:
    """A candidate that raises now and then is found out, however its errors fall."""
    result = duel(
        """
import itertools
CALLS = itertools.count(1)

def moody(batch):
    if next(CALLS) > 100 and next(CALLS) % 5 == 0:
        raise ValueError("no such weights")
    return working(1)(batch)

@pytest.mark.dlperf("throughput >= 0.5 * baseline", **SLOTTED)
def test_it(dlperf):
    dlperf.duel(working(1), moody, DATA)
"""
    )

    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([r"E       pytest_dlperf.BudgetFailure: errors == 0"])


def test_what_cannot_be_measured_in_turn(duel: Callable[..., pytest.RunResult]) -> None:
    """A budget that no load measures is refused, with what to do."""
    result = duel(
        """
@pytest.mark.dlperf("max_rate >= 1000/s", **SLOTTED)
def test_it(dlperf):
    dlperf.duel(working(1), working(1), DATA)
"""
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*dlperf.duel(...) does not measure max_rate*"])


@pytest.mark.parametrize("side", ["base", "candidate"])
def test_a_call_that_never_returns(duel: Callable[..., pytest.RunResult], side: str) -> None:
    """In a slot, on either side: the test fails with where it hangs, and the next one goes on."""
    result = duel(
        f"""
import threading
SIDE = {side!r}

def stuck():
    calls = iter(range(10**9))
    def infer(batch):
        if threading.current_thread().name == "dlperf slots" and next(calls) > 20:
            while True:  # in Python code, so that the thread can be stopped
                threading.Event().wait(0.01)
        return working(1)(batch)
    return infer

@pytest.mark.dlperf("throughput >= baseline", call_timeout="0.3s", **SLOTTED)
def test_it(dlperf):
    one, other = (stuck(), working(1)) if SIDE == "base" else (working(1), stuck())
    dlperf.duel(one, other, DATA)

def test_next():
    pass
"""
    )

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*TargetError*a call in a slot had not returned*infer*"])


@pytest.mark.real_time
def test_real_work_on_the_real_clock(run: Callable[..., pytest.RunResult]) -> None:
    """The same arithmetic on both sides is no loss, where half of the throughput may be lost."""
    result = run("""
NUMBERS = np.linspace(0, 1, 4000)

def working(batch):
    np.sin(NUMBERS)
    return batch.copy()

@pytest.mark.dlperf("throughput >= 0.5 * baseline", **SHORT, serving=Serving(8), budget_time="1s")
def test_it(dlperf):
    dlperf.duel(working, working, DATA)
""")

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"test_it .*(PASS|INCONCLUSIVE)"])


ACCURACY = """
REGRESSION = (INPUTS, INPUTS[:, :1].astype("float64"))
THREE = (INPUTS, INPUTS[:, :3].argmax(axis=1).astype("float64"))

def scores(batch):
    return batch[:, :3].copy()

def number(batch):
    return batch[:, :1] * 2 + 0.1

CASES = {
    "same_loss": (number, number, REGRESSION),
    "no_labels": (number, number, (INPUTS, None)),
    "base_only": (scores, number, THREE),
}

@pytest.mark.dlperf(**SLOTTED)
@pytest.mark.parametrize("case", CASES)
def test_case(dlperf, case):
    base, candidate, data = CASES[case]
    m = dlperf.duel(working(1, base), working(1, candidate), data)
    print("NOTES", case, m.notes)
"""


def test_a_default_accuracy_is_never_dropped_in_silence(
    duel: Callable[..., pytest.RunResult],
) -> None:
    """The loss takes its place, or a note says why; and what only the base has is no PASS."""
    result = duel(ACCURACY, "-s")

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*NOTES same_loss*the loss is judged in its place*"])
    result.stdout.fnmatch_lines(["*NOTES no_labels*the data has no labels*"])
    assert "read as a regression" in text(result)
    assert "accuracy >= baseline" in text(result)
    assert "INCONCLUSIVE" not in text(result)
