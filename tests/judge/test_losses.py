"""What decided a budget: the ends of its interval are those of the tests, and never contradict."""

from __future__ import annotations

import math

import pytest
from builders import (
    ENVIRONMENT,
    estimate,
    make_accepted,
    make_judgement,
    make_measurement,
    revision_on,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.judge.conditions import MachineConditions
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.judge.loss_evidence import (
    CountedLoss,
    LossEvidence,
    MeasuredLoss,
    PairedLoss,
    decided_interval,
)
from pytest_dlperf.judge.losses import VERDICTS, LossLimits, changed_by, lost, with_bounds
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.results.verdict import Judgement, Verdict
from pytest_dlperf.statistics.estimate import Estimate
from pytest_dlperf.statistics.prediction import Prediction
from pytest_dlperf.statistics.proportions import accuracy_decision

RATES = st.sampled_from([0.0001, 0.01, 0.05])
ROWS = 500
THROUGHPUT, ACCURACY = METRICS["throughput"], METRICS["accuracy"]


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    """Rows that only the base has right, that only the candidate has, and all rows."""
    only_base = draw(st.integers(0, 60))
    return only_base, draw(st.integers(0, 60)), ROWS


@st.composite
def evidences(draw: st.DrawFn) -> LossEvidence:
    """Evidence of any kind for a loss of a few percent or points."""
    loss, reach = draw(st.floats(-0.2, 0.2)), draw(st.floats(0.0, 0.1))
    return draw(
        st.sampled_from(
            (
                MeasuredLoss(Prediction(loss, reach, draw(st.integers(1, 50)))),
                MeasuredLoss(Prediction(loss, reach, 3)),
                PairedLoss(*draw(counts())),
                PairedLoss(0, 0, ROWS),
            )
        )
    )


@given(evidences(), st.floats(-0.05, 0.1), st.floats(0, 0.1), RATES, RATES)
def test_interval_and_verdict(
    evidence: LossEvidence, allowed: float, more: float, alpha: float, beta: float
) -> None:
    """FAIL: all of it is beyond the limit. PASS: all is within the line. Else it holds both."""
    limits = LossLimits(allowed, allowed + more)
    verdict = VERDICTS[evidence.decision(limits, alpha, beta)]
    interval = decided_interval(evidence, alpha, beta)

    judged = with_bounds(make_judgement(verdict, metric="accuracy"), ACCURACY, interval, limits)

    assert judged.change is not None
    # The change of the accuracy itself: a loss is below 0.
    low, high = -judged.change.high, -judged.change.low
    match verdict:
        case Verdict.FAIL:
            assert low >= allowed
            assert (judged.proven, judged.excluded) == (pytest.approx(low), None)
        case Verdict.PASS:
            assert high <= limits.line
            assert (judged.proven, judged.excluded) == (None, pytest.approx(high))
        case _:
            assert low <= allowed
            assert high >= limits.line
            assert judged.proven is judged.excluded is None


@given(counts(), RATES, RATES)
def test_ends_of_counted_rows(rows: tuple[int, int, int], alpha: float, beta: float) -> None:
    """A budget that allows a little less than the lower end fails, and one of a little more not.

    So it is with the upper end and the line of a PASS.
    """

    def decided(allowed: float, line: float) -> str | None:
        return accuracy_decision(*rows, allowed=allowed, line=line, alpha=alpha, beta=beta)

    assume(rows[0] or rows[1])
    interval = decided_interval(PairedLoss(*rows), alpha, beta)
    near = 1e-6
    assert interval.low <= interval.value <= interval.high
    if interval.low > 2 * near:
        assert decided(interval.low - near, 1.0) == "FAIL"
    if abs(interval.low) > near:  # at 0 McNemar's test alone decides
        assert decided(interval.low + near, 1.0) != "FAIL"
    assert decided(1.0, interval.high + near) == "PASS"
    assert decided(1.0, interval.high - near) is None


@pytest.mark.parametrize(
    ("rows", "ends"), [((0, 0, 100), (0.0, 0.0)), ((0, 0, 0), (-1.0, 1.0)), ((50, 0, 50), (1, 1))]
)
def test_rows_without_a_difference(rows: tuple[int, int, int], ends: tuple[float, float]) -> None:
    """The same rows right is no loss at all; without rows nothing is excluded."""
    interval = decided_interval(PairedLoss(*rows), 0.01, 0.05)
    assert interval.high == pytest.approx(ends[1], abs=1e-9)
    assert interval.low <= ends[0]


def test_a_change_without_noise() -> None:
    """Of shares that were counted, the change is all that is known."""
    assert decided_interval(CountedLoss(0.02, 0.01), 0.01, 0.05) == Estimate(0.02, 0.02, 0.02)


@pytest.mark.parametrize(
    ("name", "loss", "share"),
    [
        ("throughput", math.log(2), 0.5),
        ("throughput", -math.log(2), -1.0),
        ("p99", math.log(2), 1.0),
        ("p99", -math.log(2), -0.5),
        ("accuracy", 0.02, 0.02),
        ("errors", -0.02, -0.02),
    ],
)
def test_a_loss_of_the_metric_itself(name: str, loss: float, share: float) -> None:
    """Half the throughput is a loss of 50 %, twice the latency one of 100 %; a gain is below 0."""
    metric = METRICS[name]
    assert lost(metric, loss) == pytest.approx(share)
    assert abs(changed_by(metric, loss)) == pytest.approx(abs(share))


def stored(throughput: float, alpha: float = 0.01, beta: float = 0.05) -> Judgement:
    """Today's throughput against eight sessions of 1,000/s."""
    sessions = tuple(
        make_accepted({"throughput": estimate(1000.0)}, revision=revision_on(day)).newest
        for day in range(8)
    )
    (judgement,) = judge(
        make_measurement({"throughput": estimate(throughput, 0.001)}),
        [parse_budget("throughput >= 0.9 * baseline")],
        make_accepted({"throughput": estimate(1000.0)}, earlier=sessions[1:]),
        ENVIRONMENT,
        "",
        MachineConditions(alpha=alpha, beta=beta),
    )
    return judgement


def test_a_stored_baseline_says_what_decided() -> None:
    """The change since the baseline, with a bound at the rate of a PASS, and one of a FAIL."""
    good, bad, unsure = stored(1000.0), stored(500.0), stored(900.0)

    assert (good.verdict, bad.verdict) == (Verdict.PASS, Verdict.FAIL)
    assert unsure.verdict is Verdict.INCONCLUSIVE
    assert good.excluded is not None
    assert bad.proven is not None
    assert 0 < good.excluded < 0.1 < bad.proven < 0.5
    for judgement, value in ((good, 1.0), (bad, 0.5), (unsure, 0.9)):
        assert judgement.change is not None
        assert judgement.change.value == pytest.approx(value)
    assert bad.change is not None
    assert bad.change.high == pytest.approx(1 - bad.proven)


def test_the_bounds_are_at_the_rates_of_the_run() -> None:
    """A smaller error rate proves a smaller loss, and excludes only a larger one."""
    proven = [stored(400.0, alpha=alpha).proven for alpha in (0.01, 0.001)]
    excluded = [stored(1000.0, beta=beta).excluded for beta in (0.05, 0.01)]

    assert proven[0] is not None
    assert proven[1] is not None
    assert excluded[0] is not None
    assert excluded[1] is not None
    assert proven[0] > proven[1] > 0.1
    assert excluded[0] < excluded[1] < 0.1


@pytest.mark.parametrize("name", ["errors", "accuracy"])
def test_points_prove_nothing_more(name: str) -> None:
    """Where points are compared, there is no bound."""
    metrics = {name: estimate(0.5)}
    budget = parse_budget(f"{name} {'<=' if name == 'errors' else '=='} baseline")
    (judgement,) = judge(
        make_measurement(metrics), [budget], make_accepted(metrics), ENVIRONMENT, ""
    )

    assert judgement.verdict is Verdict.PASS
    assert judgement.change is judgement.excluded is judgement.proven is None
