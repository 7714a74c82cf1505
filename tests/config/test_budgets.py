"""Budgets: the grammar, with places marked where it is not kept."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pytest_dlperf.config.budgets import LatencyLimit, parse_budget, parse_limit
from pytest_dlperf.errors import BudgetSyntaxError, UsageError
from pytest_dlperf.metrics import METRICS, define, metric_named, users_metric

GOOD = [
    # text, metric, operator, factor, offset
    ("p99 <= 20ms", "p99", "<=", None, 0.02),
    ("p99<=20ms", "p99", "<=", None, 0.02),
    ("  p99   <  20 ms ", "p99", "<", None, 0.02),
    ("p99.9 <= 1.5s", "p99.9", "<=", None, 1.5),
    ("p50 <= 300us", "p50", "<=", None, 300e-6),
    ("p50 <= 300µs", "p50", "<=", None, 300e-6),
    ("mean < 2e-3s", "mean", "<", None, 2e-3),
    ("max <= 1min", "max", "<=", None, 60.0),
    ("compile_time <= 10s", "compile_time", "<=", None, 10.0),
    ("throughput >= 5000/s", "throughput", ">=", None, 5000.0),
    ("throughput > 5_000 / s", "throughput", ">", None, 5000.0),
    ("throughput >= 600/min", "throughput", ">=", None, 10.0),
    ("accuracy >= 97%", "accuracy", ">=", None, 0.97),
    ("accuracy >= 0.97", "accuracy", ">=", None, 0.97),
    ("accuracy == 100%", "accuracy", "==", None, 1.0),
    ("errors == 0", "errors", "==", None, 0.0),
    ("errors < 0.1%", "errors", "<", None, 0.001),
    ("loss <= 0.25", "loss", "<=", None, 0.25),
    ("peak_memory <= 1.5GiB", "peak_memory", "<=", None, 1.5 * 2**30),
    ("peak_memory <= 800MB", "peak_memory", "<=", None, 8e8),
    ("throughput >= baseline", "throughput", ">=", 1.0, 0.0),
    ("throughput >= 0.95 * baseline", "throughput", ">=", 0.95, 0.0),
    ("throughput >= 0.95*baseline-10/s", "throughput", ">=", 0.95, -10.0),
    ("p99 <= baseline + 2ms", "p99", "<=", 1.0, 0.002),
    ("p99 <= 2 * baseline", "p99", "<=", 2.0, 0.0),
    ("accuracy >= baseline - 0.5pt", "accuracy", ">=", 1.0, -0.005),
    ("accuracy == baseline", "accuracy", "==", 1.0, 0.0),
    ("loss <= baseline + 0.02", "loss", "<=", 1.0, 0.02),
    ("errors <= baseline + 0.1 pt", "errors", "<=", 1.0, 0.001),
]

BAD = [
    # text, what is marked, a part of the message
    ("", " ", "starts with a metric"),
    ("p98 <= 20ms", "p98", "unknown metric 'p98'"),
    ("throughputt >= 5/s", "throughputt", "did you mean throughput"),
    ("20ms >= p99", "20", "starts with a metric"),
    ("p99", " ", "expected a comparison"),
    ("p99 = 20ms", "=", "expected a comparison"),
    ("p99 != 20ms", "!=", "expected a comparison"),
    ("p99 20ms", "20", "expected a comparison"),
    ("p99 >= 20ms", ">=", "better when lower"),
    ("p99 > 20ms", ">", "better when lower"),
    ("throughput <= 5/s", "<=", "better when higher"),
    ("accuracy < 97%", "<", "better when higher"),
    ("errors >= 0", ">=", "better when lower"),
    ("p99 == 20ms", "==", "never equals"),
    ("throughput == baseline", "==", "never equals"),
    ("p99 <=", " ", "expected a number or `baseline`"),
    ("p99 <= -5ms", "-", "expected a number or `baseline`"),
    ("p99 <= base", "base", "expected a number or `baseline`"),
    ("p99 <= 20", "20", "a unit is missing"),
    ("throughput >= 5000", "5000", "a unit is missing"),
    ("p99 <= 20/s", "/s", "no unit of p99"),
    ("p99 <= 20%", "%", "no unit of p99"),
    ("p99 <= 20parsecs", "parsecs", "unknown unit 'parsecs'"),
    ("throughput >= 5ms", "ms", "no unit of throughput"),
    ("accuracy >= 97ms", "ms", "no unit of accuracy"),
    ("accuracy >= 97", "97", "at most 100 %"),
    ("accuracy >= 101%", "101", "at most 100 %"),
    ("accuracy >= 97pt", "pt", "points are differences"),
    ("accuracy >= baseline - 0.5", "0.5", "a unit is missing"),
    ("accuracy >= baseline - 0.5%", "%", "a percentage of what"),
    ("throughput >= baseline - 5%", "%", "no unit of throughput"),
    ("throughput >= 0.95 * basline", "basline", "only `baseline` can be multiplied"),
    ("throughput >= 0.95 *", " ", "only `baseline` can be multiplied"),
    ("throughput >= 0 * baseline", "0", "no sensible multiple"),
    ("throughput >= 1e305 * baseline", "1e305", "no sensible multiple"),
    ("throughput >= baseline * 0.95", "*", "the factor comes first"),
    ("p99 <= 20ms please", "please", "nothing may follow"),
    ("p99 <= 20ms, p50 <= 1ms", ",", "nothing may follow"),
    ("p99 <= baseline + ms", "ms", "expected a number"),
    ("p99 <= 1e999ms", "1e999", "too large"),
    ("p99 <= 1e308min", "1e308", "too large"),
    ("p99 <= 1_ms", "1_", ""),
    ("p99 <= 1__0ms", "1__0", ""),
    ("train.time >= 5s", ">=", "better when lower"),
    ("train.throughput >= 5", "5", "a unit is missing"),
    ("p99(95%) <= 5s", "(", "expected a comparison"),
    ("train.time_to_accuracy <= 30s", "train.time_to_accuracy", "which accuracy"),
    ("train.time_to_accuracy() <= 30s", ")", "an accuracy is missing"),
    ("train.time_to_accuracy(", "(", "an accuracy is missing"),
    ("train.time_to_accuracy(x) <= 30s", "x", "an accuracy is expected"),
    ("train.time_to_accuracy(95 <= 30s", "95", "a share above 0"),
    ("train.time_to_accuracy(95%  <= 30s", "<=", "closing bracket is missing"),
    ("train.time_to_accuracy(0.95", " ", "closing bracket is missing"),
    ("train.time_to_accuracy(0%) <= 30s", "0", "a share above 0"),
    ("train.time_to_accuracy(101%) <= 30s", "101", "at most 100 %"),
    ("train.time_to_accuracy(-1%) <= 30s", "-", "an accuracy is expected"),
    ("train.time_to_accuracy(95%) >= 30s", ">=", "better when lower"),
    ("train.time_to_accuracy(95%) <= 30", "30", "a unit is missing"),
]


@pytest.mark.parametrize(("text", "metric", "operator", "factor", "offset"), GOOD)
def test_good_budget(
    text: str, metric: str, operator: str, factor: float | None, offset: float
) -> None:
    """A budget of the grammar is read as metric, operator, factor and offset in base units."""
    budget = parse_budget(text)
    assert budget.metric is METRICS[metric]
    assert budget.operator == operator
    assert budget.factor == factor
    assert budget.offset == pytest.approx(offset, rel=1e-12)
    assert budget.relative is (factor is not None)
    assert budget.text == text.strip()


@pytest.mark.parametrize(("text", "marked", "problem"), BAD)
def test_bad_budget_is_marked(text: str, marked: str, problem: str) -> None:
    """An error marks the wrong characters and names the problem."""
    with pytest.raises(BudgetSyntaxError) as caught:
        parse_budget(text)
    error = caught.value
    assert f"{text} "[error.start : error.start + error.length] == marked
    assert problem in str(error)
    lines = str(error).split("\n")
    at = lines.index(f"    {text}")
    assert lines[at + 1] == f"    {' ' * error.start}{'^' * len(marked)}"


def test_mark_of_a_repeated_word() -> None:
    """The mark stands at the wrong place, not at the first that looks like it."""
    with pytest.raises(BudgetSyntaxError) as caught:
        parse_budget("p99 <= p99")
    assert caught.value.start == 7


def test_hint_names_the_right_operator() -> None:
    """A budget in the wrong direction is answered with the right one."""
    with pytest.raises(BudgetSyntaxError, match=r"write throughput >= \.\.\."):
        parse_budget("throughput <= 5000/s")


@pytest.mark.parametrize(
    ("text", "baseline", "limit"),
    [
        ("p99 <= 20ms", 123.0, 0.02),
        ("throughput >= 0.9 * baseline - 50/s", 1000.0, 850.0),
        ("accuracy >= baseline - 1pt", 0.9, 0.89),
    ],
)
def test_limit(text: str, baseline: float, limit: float) -> None:
    """The limit is factor times baseline plus offset; absolute ones ignore the baseline."""
    assert parse_budget(text).limit(baseline) == pytest.approx(limit)


_SCALES = {
    "s": {"ns": "1e-9", "us": "1e-6", "µs": "1e-6", "ms": "1e-3", "s": "1", "min": "60"},
    "1/s": {"/s": "1", "/ s": "1"},
    "share": {"%": "0.01", "": "1"},
    "points": {"pt": "0.01"},
    "bytes": {"B": "1", "KB": "1e3", "MiB": "1048576", "GiB": "1073741824", "GB": "1e9"},
    "1": {"": "1"},
}
_NUMBERS = st.decimals("0.001", "0.999", places=3).map(str) | st.integers(1, 99).map(str)
_SPACES = st.sampled_from(["", " ", "  "])


@given(st.data())
def test_budget_from_parts(data: st.DataObject) -> None:
    """Any budget put together from its parts is read back as these parts."""
    metric = data.draw(st.sampled_from(list(METRICS.values())))
    operator = data.draw(st.sampled_from(["<", "<="] if metric.better == "lower" else [">", ">="]))
    relative = data.draw(st.booleans())
    number, space = data.draw(_NUMBERS), data.draw(_SPACES)
    kind = "points" if relative and metric.unit == "share" else metric.unit
    unit, scale = data.draw(st.sampled_from(list(_SCALES[kind].items())))
    amount = Decimal(number) * Decimal(scale)
    quantity = f"{number}{space}{unit}"
    if not relative:
        assume(metric.unit != "share" or amount <= 1)
        budget = parse_budget(f"{metric.name}{space}{operator}{space}{quantity}")
        assert budget.factor is None
        assert budget.offset == pytest.approx(float(amount), rel=1e-12)
    else:
        factor = data.draw(st.none() | _NUMBERS)
        sign = data.draw(st.sampled_from(["", "+", "-"]))
        multiple = "" if factor is None else f"{factor}{space}*{space}"
        tail = f"{space}{sign}{space}{quantity}" if sign else ""
        budget = parse_budget(f"{metric.name} {operator} {multiple}baseline{tail}")
        assert budget.factor == (1.0 if factor is None else float(factor))
        signed = {"": Decimal(0), "+": amount, "-": -amount}[sign]
        assert budget.offset == pytest.approx(float(signed), rel=1e-12, abs=0)
    assert (budget.metric, budget.operator) == (metric, operator)


_PIECES = st.sampled_from(
    [
        *("p99", "throughput", "accuracy", "baseline", "<=", ">=", "==", "=", "*", "+", "-"),
        *("%", "pt", "ms", "/s", "/", "1", "0.5", "1_", "_", ".", "1e999", "97"),
        *(" ", "\t", "µ", "é", "\n", "'", "train.time_to_accuracy", "(", ")"),
    ]
)


@given(st.lists(_PIECES, max_size=8).map("".join) | st.text(max_size=12))
@example("p99 <= 1_ms")
def test_any_text_is_a_budget_or_a_marked_error(text: str) -> None:
    """Whatever is written, the answer is a budget with a finite limit or a mark inside the text."""
    error = None
    try:
        budget = parse_budget(text)
    except BudgetSyntaxError as refusal:
        error = refusal
    if error is None:
        assert budget.metric.name.partition("(")[0] in text
        assert abs(budget.offset) < float("inf")
    else:
        assert 0 <= error.start <= len(text)
        assert error.length >= 1


@given(st.integers(1, 1000), _SPACES, st.sampled_from(["%", "share"]), st.booleans())
def test_goals(tenths: int, space: str, spelt: str, relative: bool) -> None:  # noqa: FBT001 - drawn
    """However an accuracy is written, it is the same metric, with one name and one goal."""
    goal = f"{tenths / 10:g}{space}%" if spelt == "%" else f"{tenths / 1000:g}"
    value = "0.9 * baseline" if relative else "30s"

    budget = parse_budget(f"train.time_to_accuracy{space}({space}{goal}{space}) <= {value}")

    assert budget.metric.name == f"train.time_to_accuracy({tenths / 10:g}%)"
    assert budget.metric.goal == pytest.approx(tenths / 1000)
    assert (budget.metric.unit, budget.metric.better) == ("s", "lower")
    assert budget.limit(100.0) == pytest.approx(90.0 if relative else 30.0)
    assert budget.metric == metric_named(budget.metric.name)


@pytest.mark.parametrize(
    ("text", "factor", "offset"),
    [
        ("ndcg10 >= 30%", None, 0.3),
        ("ndcg10 == 1", None, 1.0),
        ("ndcg10 >= baseline - 0.5pt", 1.0, -0.005),
        ("recall10_at_5 >= 0.9 * baseline", 0.9, 0.0),
    ],
)
@pytest.mark.usefixtures("own_metrics")
def test_users_metrics(text: str, factor: float | None, offset: float) -> None:
    """A metric that a user has defined is written as those built in are."""
    for name in ("ndcg10", "recall10_at_5"):
        define(users_metric(name, "share", "higher", 0.01))

    budget = parse_budget(text)

    assert budget.metric is metric_named(text.split(maxsplit=1)[0])
    assert (budget.factor, budget.offset) == (factor, pytest.approx(offset))


@pytest.mark.usefixtures("own_metrics")
def test_a_users_metric_before_and_after_it_is_defined() -> None:
    """An undefined metric is unknown; a defined one is refused in the wrong direction."""
    with pytest.raises(BudgetSyntaxError, match=r"unknown metric 'mae'.*[\s\S]*dlperf.metric"):
        parse_budget("mae <= 3")
    define(users_metric("mae", "1", "lower", 0.05))
    assert parse_budget("mae <= 3").limit(0.0) == 3
    with pytest.raises(BudgetSyntaxError, match="mae is better when lower"):
        parse_budget("mae >= 3")


@pytest.mark.parametrize(
    ("text", "percent", "seconds", "canonical"),
    [
        ("p99 <= 10ms", 99, 0.01, "p99 <= 10ms"),
        ("p99<0.01s", 99, 0.01, "p99 <= 10ms"),
        ("p99.9 <= 10.125ms", 99.9, 0.010125, "p99.9 <= 10.125ms"),
        ("p50 <= 1min", 50, 60, "p50 <= 60000ms"),
    ],
)
def test_limits(text: str, percent: float, seconds: float, canonical: str) -> None:
    """However it is written, equal limits have equal texts, and other ones have others."""
    limit = parse_limit(text)

    assert (limit.percent, limit.seconds) == (percent, pytest.approx(seconds))
    assert str(limit) == canonical
    assert limit.share == pytest.approx(percent / 100)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("throughput >= 5/s", "throughput is no percentile"),
        ("mean <= 5ms", "mean is no percentile"),
        ("p99 <= 2 * baseline", "expected a latency, not a baseline"),
        ("p99 <= 0ms", "can never be held"),
        ("10ms", "a budget starts with a metric"),
        (0.01, "expected a text"),
    ],
)
def test_what_is_no_limit(text: object, problem: str) -> None:
    """Anything but an absolute budget on a percentile is refused."""
    with pytest.raises(UsageError, match=problem):
        parse_limit(text)


def test_a_limit_is_checked_when_it_is_built() -> None:
    """No module can pass on a limit that makes no sense."""
    with pytest.raises(UsageError, match="can never be held"):
        LatencyLimit(100, 0.01)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("throughput >= 95% * baseline", "write 0.95 * baseline"),
        ("throughput >= 95 % of baseline", "write 0.95 * baseline"),
        ("throughput >= 95% baseline", "write 0.95 * baseline"),
        ("accuracy >= 99.5% * baseline - 1pt", "write 0.995 * baseline"),
        ("p99 <= 110% * baseline", "write 1.1 * baseline"),
        ("p99 <= baseline * 1.1", "write 1.1 * baseline"),
        ("p99 <= baseline + 5%", "write a factor: 1.05 * baseline"),
        ("throughput >= baseline - 5%", "write a factor: 0.95 * baseline"),
        ("p99 <= 1.1 baseline", "write 1.1 * baseline"),
        ("throughput >= 95%", "0.95 * baseline is a share of the baseline"),
        ("accuracy >= 90", "write 90%"),
        ("accuracy >= 97.5", "write 97.5%"),
        ("errors <= 5", "write 5%"),
        ("accuracy >= 150%", "write 97% or 0.97"),
        ("accuracy >= 900", "write 97% or 0.97"),
    ],
)
def test_the_hint_is_what_was_meant(text: str, hint: str) -> None:
    """A percentage of the baseline is a factor, and a bare percentage lacks its sign."""
    with pytest.raises(BudgetSyntaxError) as caught:
        parse_budget(text)

    assert caught.value.hint.endswith(hint)
