"""Goals: an objective and constraints, read from texts."""

from __future__ import annotations

import math

import pytest
from builders import estimate, make_rows

from pytest_dlperf.errors import BudgetSyntaxError, UsageError
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.tuning.goal import Goal, Measured, parse_goal


def measured(**metrics: float | Estimate) -> Measured:
    """Metrics; plain figures are counted."""
    return Measured(
        {
            name: value if isinstance(value, Estimate) else counted(value)
            for name, value in metrics.items()
        }
    )


@pytest.mark.parametrize(
    "texts",
    [
        ("maximize throughput", "accuracy >= baseline - 0.5pt", "p99 <= 20ms"),
        ("maximize throughput subject to accuracy >= baseline - 0.5pt, p99 <= 20ms",),
        ("accuracy >= baseline - 0.5pt", "p99 <= 20ms", "maximise throughput"),
        ("maximize throughput, accuracy >= baseline - 0.5pt", "p99 <= 20ms"),
    ],
)
def test_a_goal(texts: tuple[str, ...]) -> None:
    """In one text or in several, in any order: one objective, and constraints."""
    goal = parse_goal(texts)

    assert goal.objective is METRICS["throughput"]
    assert [budget.text for budget in goal.constraints] == [
        "accuracy >= baseline - 0.5pt",
        "p99 <= 20ms",
    ]
    assert goal.metrics == ("throughput", "accuracy", "p99")
    assert str(goal) == ("maximize throughput subject to accuracy >= baseline - 0.5pt, p99 <= 20ms")


def test_a_goal_is_what_its_text_says() -> None:
    """The text of a goal is read as the same goal."""
    for text in ("minimize p99", "minimize train.time_to_accuracy(95%) subject to loss <= 0.2"):
        assert str(parse_goal([text])) == text


@pytest.mark.parametrize(
    ("texts", "problem", "marked"),
    [
        (("maximize p99",), "p99 is better when lower", "maximize"),
        (("minimise accuracy",), "write maximize accuracy", "minimise"),
        (("maximize throughputt",), "did you mean throughput", "throughputt"),
        (("maximize throughput p99",), "unknown metric", "throughput p99"),
        (("maximize",), "which metric", ""),
        (("maximize throughput", "minimize p99"), "a second objective", "minimize p99"),
        (("maximize throughput, minimize p99",), "a second objective", "minimize p99"),
        (("maximize throughput subject to p99 >= 2ms",), "asks for a bad one", ">="),
        (("maximize throughput, accuracy > baseline - 1",), "a unit is missing", "1"),
        (("maximize throughput,",), "starts with a metric", ""),
        (("maximise throughput subject p99 <= 1ms",), "unknown", "throughput subject p99 <= 1ms"),
    ],
)
def test_what_is_no_goal(texts: tuple[str, ...], problem: str, marked: str) -> None:
    """The mistake is marked in the text as it was written, and told in words."""
    with pytest.raises(BudgetSyntaxError, match=problem) as caught:
        parse_goal(texts)

    error = caught.value
    assert error.text in texts
    assert error.text[error.start : error.start + error.length] == marked


@pytest.mark.parametrize("texts", [(), ("p99 <= 20ms",)])
def test_no_objective(texts: tuple[str, ...]) -> None:
    """Constraints alone say nothing of what is to get better."""
    with pytest.raises(UsageError, match="there is no objective"):
        parse_goal(texts)


def test_what_is_no_text() -> None:
    """A forgotten pair of quotes ends in words."""
    with pytest.raises(UsageError, match="is no text"):
        parse_goal([20])  # type: ignore[list-item]  # the mistake


@pytest.mark.parametrize(
    ("goal", "good", "bad"),
    [
        ("maximize throughput", {"throughput": 2000.0}, {"throughput": 1000.0}),
        ("minimize p99", {"p99": 0.001}, {"p99": 0.002}),
        ("maximize accuracy", {"accuracy": 0.98}, {"accuracy": 0.97}),
        ("minimize loss", {"loss": 0.1}, {}),
    ],
)
def test_less_cost_is_better(goal: str, good: dict[str, float], bad: dict[str, float]) -> None:
    """Whichever way the metric is better; what was not measured costs infinitely much."""
    parsed = parse_goal([goal])

    assert parsed.cost(measured(**good).metrics) < parsed.cost(measured(**bad).metrics)
    assert parsed.cost({}) == math.inf


def slack_of(budget: str, now: Measured, base: Measured | None = None) -> tuple[bool, bool]:
    """Whether a constraint holds, and whether it is broken."""
    goal = parse_goal(["maximize throughput", budget])
    (slack,) = goal.slacks(now, base)
    return slack.holds, slack.broken


HOLDS, OPEN, BROKEN = (True, False), (False, False), (False, True)
RELATIVE = "throughput >= 0.9 * baseline"
NOISY = measured(throughput=estimate(1000.0, 0.04))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (Estimate(0.019, 0.018, 0.020), HOLDS),
        (Estimate(0.019, 0.015, 0.024), HOLDS),
        (Estimate(0.021, 0.019, 0.023), OPEN),
        (Estimate(0.030, 0.028, 0.032), BROKEN),
        (counted(0.020), HOLDS),
        (counted(0.0201), BROKEN),
    ],
)
def test_an_absolute_constraint(now: Estimate, expected: tuple[bool, bool]) -> None:
    """By its value it holds or not; it is broken only where the whole interval is beyond."""
    assert slack_of("p99 <= 20ms", measured(p99=now)) == expected


@pytest.mark.parametrize(
    ("budget", "now", "base", "expected"),
    [
        ("p99 < 20ms", measured(p99=0.02), None, OPEN),
        ("errors == 0", measured(errors=0.0), None, HOLDS),
        ("errors == 0", measured(errors=0.01), None, BROKEN),
        (RELATIVE, measured(throughput=901.0), measured(throughput=1000.0), HOLDS),
        (RELATIVE, measured(throughput=899.0), measured(throughput=1000.0), BROKEN),
        # The noise of a difference is that of both: 3 % and 4 % are 5 %.
        ("throughput >= baseline", measured(throughput=estimate(960.0, 0.03)), NOISY, OPEN),
        ("throughput >= baseline", measured(throughput=estimate(940.0, 0.03)), NOISY, BROKEN),
        # What was not measured is broken.
        ("p99 <= 20ms", measured(throughput=1.0), None, BROKEN),
        ("p99 <= baseline", measured(p99=0.01), None, BROKEN),
        ("p99 <= baseline", measured(p99=0.01), measured(loss=0.1), BROKEN),
    ],
)
def test_other_constraints(
    budget: str, now: Measured, base: Measured | None, expected: tuple[bool, bool]
) -> None:
    """Strict ones, equality, and those relative to the setup without tuning."""
    assert slack_of(budget, now, base) == expected


def test_the_same_rows_tell_more_than_two_shares() -> None:
    """Losing 8 rows of 200 and winning none is proven; two intervals would not show it."""
    right = [1] * 190 + [0] * 10
    worse = [0] * 8 + right[8:]
    shares = [Estimate(0.95, 0.91, 0.97), Estimate(0.91, 0.86, 0.94)]
    base, now = ({"accuracy": share} for share in shares)
    budget = "accuracy >= baseline - 0.5pt"
    paired = slack_of(budget, Measured(now, make_rows(worse)), Measured(base, make_rows(right)))

    assert paired == (False, True)
    assert slack_of(budget, Measured(now), Measured(base)) == (False, False)


@pytest.mark.parametrize(
    ("accuracy", "sure"), [(0.970, True), (0.966, True), (0.962, False), (0.955, False)]
)
def test_sure_is_what_the_judge_lets_pass(accuracy: float, sure: bool) -> None:  # noqa: FBT001 - what is expected
    """A loss of a point, which accuracy must detect, is excluded; the interval is half one."""
    goal = parse_goal(["maximize throughput", "accuracy >= baseline - 0.5pt"])
    now = measured(accuracy=Estimate(accuracy, accuracy - 0.005, accuracy + 0.005))
    (slack,) = goal.slacks(now, measured(accuracy=0.97))

    assert slack.sure is sure


def test_a_goal_without_constraints() -> None:
    """Nothing is asked but the objective."""
    goal = parse_goal(["minimize train.time"])

    assert goal == Goal(METRICS["train.time"])
    assert goal.slacks(measured(), None) == ()
