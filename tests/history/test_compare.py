"""Verdicts of a comparison of two sides, and their reasons."""

from __future__ import annotations

import dataclasses
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import (
    ENVIRONMENT,
    MACHINE,
    continued,
    estimate,
    make_accepted,
    make_measurement,
    make_rows,
)
from entries import TEST
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.history.compare import COMPARED, compare_sides
from pytest_dlperf.history.entries import MeasurementId
from pytest_dlperf.judge.conditions import MachineConditions
from pytest_dlperf.judge.error_rates import ALPHA, BETA
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate, counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_dlperf.history.comparison import Comparison, Row
    from pytest_dlperf.results.baseline import BaselineEntry

PLACE = MeasurementId(TEST, "", MACHINE)
BIGGER = dataclasses.replace(MACHINE, cores=8, driver="560.1")


def _accepted(*sessions: Mapping[str, Estimate], **fields: Any) -> BaselineEntry:  # noqa: ANN401 - any
    """Sessions of these metrics, newest last."""
    yardsticks = fields.pop("yardsticks", [fields.pop("yardstick", None)] * len(sessions))
    *earlier, newest = (
        make_accepted(metrics, yardstick=yardstick, **fields)
        for metrics, yardstick in zip(sessions, yardsticks, strict=True)
    )
    return continued([entry.newest for entry in earlier], newest)


def _throughputs(*values: float, **fields: Any) -> BaselineEntry:  # noqa: ANN401 - any
    return _accepted(*({"throughput": estimate(value)} for value in values), **fields)


def _compared(base: BaselineEntry, candidate: BaselineEntry, *metrics: str) -> Comparison:
    return compare_sides({PLACE: base}, {PLACE: candidate}, metrics or None)


def _row(base: BaselineEntry, candidate: BaselineEntry, metric: str = "throughput") -> Row:
    (measurement,) = _compared(base, candidate, metric).measurements
    (row,) = measurement.rows
    return row


def test_a_loss_a_gain_and_neither() -> None:
    """Eight sessions a side prove 15 % either way, of any metric, and otherwise exclude 5 %."""
    for metric, sign in (("throughput", 1), ("p50", -1)):
        base = _accepted(*({metric: estimate(v)} for v in (990, 1010) * 4))
        worse, better, same = (
            _row(base, _accepted(*({metric: estimate(v * f)} for v in (990, 1010) * 4)), metric)
            for f in (0.85**sign, 1.15**sign, 1.0)
        )
        assert (worse.verdict, worse.improved) == (Verdict.FAIL, False)
        assert (better.verdict, better.improved) == (Verdict.PASS, True)
        assert (same.verdict, same.improved, same.reason) == (Verdict.PASS, False, "")
        assert worse.change is not None
        assert worse.change.value == pytest.approx(0.85**sign - 1)
        assert worse.change.low < worse.change.value < worse.change.high
        assert (worse.base, worse.candidate) == pytest.approx(
            (1000, 850) if sign > 0 else (1000, 1000 / 0.85), rel=1e-4
        )


def test_what_noise_hides() -> None:
    """One session a side does not prove 5 %; the row has the change that it would prove."""
    row = _row(_throughputs(1000), _throughputs(950))
    assert row.verdict is Verdict.INCONCLUSIVE
    assert row.reason == "the noise hides a loss of this size"
    assert row.fails_at is not None
    larger = _throughputs(1000 * (1 + row.fails_at) * 0.999)
    smaller = _throughputs(1000 * (1 + row.fails_at) * 1.001)
    assert _row(_throughputs(1000), larger).verdict is Verdict.FAIL
    assert _row(_throughputs(1000), smaller).verdict is Verdict.INCONCLUSIVE


@given(
    st.lists(st.floats(900, 1100), min_size=1, max_size=8),
    st.floats(500, 1500),
    st.sampled_from(["throughput", "p50", "p99", "peak_memory", "loss", "compile_time"]),
)
def test_one_session_is_judged_as_pytest_does(values: list[float], now: float, metric: str) -> None:
    """A comparison with one session is the verdict of a budget that allows no loss."""
    base = _accepted(*({metric: estimate(value, 0.01)} for value in values))
    row = _row(base, _accepted({metric: estimate(now, 0.01)}), metric)

    sign = ">=" if METRICS[metric].better == "higher" else "<="
    (judged,) = judge(
        make_measurement({metric: estimate(now, 0.01)}),
        [parse_budget(f"{metric} {sign} baseline")],
        base,
        ENVIRONMENT,
        "",
        MachineConditions(alpha=ALPHA, beta=BETA),
    )
    assert (row.verdict, row.improved) == (judged.verdict, judged.improved)
    if judged.fails_at is not None:
        assert judged.baseline is not None
        assert row.fails_at == pytest.approx(judged.fails_at / judged.baseline - 1)


def _alphas(base: BaselineEntry, candidate: BaselineEntry, *metrics: str) -> dict[str, float]:
    (measurement,) = _compared(base, candidate, *metrics).measurements
    return {row.metric: row.alpha or 0.0 for row in measurement.rows}


def test_the_error_rate_is_shared() -> None:
    """It is divided among the metrics that can err; those that say the same have one part."""
    metrics = {"throughput": estimate(1000.0), "p50": estimate(0.01), "p95": estimate(0.02)}
    metrics |= {"train.time": estimate(9.0), "train.throughput": estimate(1.0)}
    side = _accepted({**metrics, "errors": counted(0.001)})
    assert _alphas(side, side, "throughput") == {"throughput": ALPHA}
    assert _alphas(side, side, "throughput", "p50") == pytest.approx(
        {"throughput": 0.9 * ALPHA, "p50": 0.1 * ALPHA}
    )
    assert _alphas(side, side) == pytest.approx(
        {
            **dict.fromkeys(("throughput", "train.time"), 0.3 * ALPHA),
            **dict.fromkeys(("p50", "train.throughput"), 0.1 * ALPHA / 3),
            "p95": ALPHA / 3,
            "errors": 0.0,
        }
    )
    of_arrivals = _accepted(metrics, scenario="Server(rate=100)")
    assert _alphas(of_arrivals, of_arrivals, "throughput", "p50", "p95") == pytest.approx(
        dict.fromkeys(("throughput", "p50", "p95"), ALPHA / 3)
    )
    assert _compared(side, side).alpha == ALPHA
    sides = {PLACE: side, MeasurementId(TEST, "b", MACHINE): side}
    rows = [row for it in compare_sides(sides, sides).measurements for row in it.rows]
    assert sum(row.alpha or 0.0 for row in rows) == pytest.approx(ALPHA)


def test_what_a_proven_loss_leaves_to_the_others() -> None:
    """By Holm, four proven losses of five leave their shares to a fifth, which needs it."""
    noise = (0.96, 1.04) * 4

    def sides(*losses: float) -> Comparison:
        places = [MeasurementId(TEST, str(n), MACHINE) for n in range(len(losses))]
        base = {place: _throughputs(*(1000 * x for x in noise)) for place in places}
        lost = zip(places, losses, strict=True)
        return compare_sides(
            base, {place: _throughputs(*(1000 * x * (1 - by) for x in noise)) for place, by in lost}
        )

    def verdict(comparison: Comparison) -> Verdict:
        return comparison.measurements[-1].rows[0].verdict

    alone, beside = sides(0, 0, 0, 0, 0.07), sides(0.3, 0.3, 0.3, 0.3, 0.07)
    assert verdict(alone) is Verdict.INCONCLUSIVE
    assert verdict(beside) is Verdict.FAIL
    assert verdict(sides(0.3, 0.3, 0.3, 0.3, 0)) is not Verdict.FAIL
    assert dict(alone.provable) == pytest.approx(beside.provable)


def test_the_provable_loss_is_proven() -> None:
    """A loss just beyond it is a FAIL, one just below is not; with more rows it is larger."""
    base = _accepted({"throughput": estimate(1000.0), "p95": estimate(0.01)})
    (one, two) = (
        _compared(base, base, *names).provable for names in (("p95",), ("p95", "throughput"))
    )
    assert two["p95"] > one["p95"] > 0 > two["throughput"]
    for factor, verdict in ((1.001, Verdict.FAIL), (0.999, Verdict.INCONCLUSIVE)):
        slower = _accepted(
            {"throughput": estimate(1000.0), "p95": estimate(0.01 * (1 + two["p95"] * factor))}
        )
        (measurement,) = _compared(base, slower, "p95", "throughput").measurements
        assert {row.metric: row.verdict for row in measurement.rows}["p95"] is verdict


@pytest.mark.parametrize(
    ("base_short", "short", "reason"),
    [
        ((), ("p99",), "the candidate's runs were too short to bound it from above"),
        (("p99",), (), "the base's runs were too short to bound it from above"),
        (("p99",), ("p99",), "the base's and the candidate's runs were too short to bound it"),
    ],
)
def test_percentiles_without_an_upper_bound(
    base_short: tuple[str, ...], short: tuple[str, ...], reason: str
) -> None:
    """They have a line, which is open and says why, instead of being new, gone or nowhere."""
    with_p99 = {"throughput": estimate(1000.0), "p99": estimate(0.01)}
    base, candidate = (
        _accepted({"throughput": estimate(1000.0)} if names else with_p99)
        for names in (base_short, short)
    )
    comparison = compare_sides(
        *({PLACE: base}, {PLACE: candidate}),
        base_unbounded={PLACE: base_short},
        unbounded={PLACE: short},
    )
    row = comparison.measurements[0].rows[1]
    assert (row.metric, row.verdict, row.change) == ("p99", Verdict.INCONCLUSIVE, None)
    assert row.reason.startswith(reason)
    assert (row.base is None, row.candidate is None) == (bool(base_short), bool(short))
    assert comparison.gone == ()


def test_sessions_without_an_upper_bound_beside_others() -> None:
    """The others are compared, and a remark says that some were not."""
    side = _accepted(*({"p99": estimate(0.01)} for _ in range(8)))
    comparison = compare_sides({PLACE: side}, {PLACE: side}, unbounded={PLACE: ("p99",)})
    (row,) = comparison.measurements[0].rows
    assert row.verdict is Verdict.PASS
    assert "without those of the candidate's sessions that were too short" in row.reason


def test_unchanged_code_fails_in_one_table_of_a_hundred() -> None:
    """Of tables of six metrics in which nothing changed, at most 1 % have a FAIL."""
    random = np.random.default_rng(0)
    names = ("throughput", "p50", "p95", "peak_memory", "goodput", "p99")

    def side(sessions: int) -> BaselineEntry:
        drawn = np.exp(random.normal(0, 0.05, (sessions, len(names))))
        return _accepted(
            *(dict(zip(names, map(estimate, row), strict=True)) for row in drawn.tolist())
        )

    failed = sum(_compared(side(8), side(5)).failed for _ in range(400))
    assert failed <= 10  # 99.7 % of the binomial with 1 %


def test_accuracy_row_by_row() -> None:
    """Paired rows prove a loss that the intervals of both accuracies do not."""
    right = np.ones(1000, int)
    lost = right.copy()
    lost[:20] = 0
    wide = {"accuracy": Estimate(0.98, 0.96, 1.0)}
    base = _accepted(wide, rows=make_rows(right.tolist()))
    candidate = _accepted(wide, rows=make_rows(lost.tolist()))

    worse, better, same = (
        _row(*sides, "accuracy") for sides in ((base, candidate), (candidate, base), (base, base))
    )

    assert worse.verdict is Verdict.FAIL
    assert worse.change is not None
    assert worse.change.value == pytest.approx(-0.02)
    assert (better.verdict, better.improved) == (Verdict.PASS, True)
    assert (same.verdict, same.improved) == (Verdict.PASS, False)
    assert same.change == counted(0.0)


def test_accuracy_of_other_rows() -> None:
    """Accuracies on different data are compared by their intervals, with a remark."""
    wide = {"accuracy": Estimate(0.98, 0.96, 1.0)}
    base, candidate = (_accepted(wide, rows=make_rows([1] * 9, data=d)) for d in "ab")
    row = _row(base, candidate, "accuracy")
    assert row.verdict is Verdict.INCONCLUSIVE
    assert row.reason == "not of the same rows; the noise hides a loss of this size"
    sharp = (_accepted({"accuracy": Estimate(v, v - 0.001, v + 0.001)}) for v in (0.98, 0.95))
    assert _row(*sharp, "accuracy").verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("then", "now", "verdict"),
    [
        (0.0, 0.0, Verdict.PASS),
        (0.01, 0.005, Verdict.PASS),
        (0.0, 0.0009, Verdict.INCONCLUSIVE),
        (0.0, 0.0011, Verdict.FAIL),
    ],
)
def test_errors(then: float, now: float, verdict: Verdict) -> None:
    """Errors have no interval: only 0.1 pt more of them are a loss."""
    row = _row(_accepted({"errors": counted(then)}), _accepted({"errors": counted(now)}), "errors")
    assert row.verdict is verdict
    assert row.change == counted(now - then)
    assert row.improved is (then - now > 0.001)


def test_default_metrics() -> None:
    """Errors are compared by default if there are any, other metrics only if named."""
    metrics = {name: estimate(1.0) for name in METRICS if METRICS[name].unit != "share"}
    metrics |= {"accuracy": estimate(0.9), "errors": counted(0.0)}
    none, some = (_accepted({**metrics, "errors": counted(e)}) for e in (0.0, 0.01))

    def names(*sides: BaselineEntry) -> list[str]:
        return [row.metric for row in _compared(*sides).measurements[0].rows]

    assert names(none, none) == [name for name in METRICS if name in COMPARED]
    assert names(some, none) == [name for name in METRICS if name in {*COMPARED, "errors"}]
    assert names(none, some) == names(some, none)
    (measurement,) = _compared(none, none, "mean", "errors").measurements
    assert [row.metric for row in measurement.rows] == ["mean", "errors"]


@pytest.mark.parametrize(
    ("then", "now", "reason"),
    [
        ({"scenario": "Offline()"}, {}, "the base's scenario was Offline(), the candidate's is"),
        ({"serving": "Serving(replicas=2)"}, {}, "the base's serving was Serving(replicas=2), the"),
        (
            {"environment": dataclasses.replace(ENVIRONMENT, precision="f16")},
            {},
            "since the base: precision f16 -> f32",
        ),
        (
            {"yardstick": 1e-6},
            {"yardstick": 1.3e-6},
            "the machine is not what it was: the yardstick took 1.30 times as long",
        ),
    ],
)
def test_what_cannot_be_compared(then: dict[str, Any], now: dict[str, Any], reason: str) -> None:
    """Other conditions, or another machine speed, leave the verdict open with the reason."""
    row = _row(_throughputs(1000, **then), _throughputs(500, **now))
    assert row.verdict is Verdict.INCONCLUSIVE
    assert row.reason.startswith(reason)
    assert (row.base, row.candidate, row.change, row.fails_at) == (1000, 500, None, None)


def test_metrics_judged_on_a_slower_machine() -> None:
    """A machine's speed does not affect memory."""
    metrics = {"throughput": estimate(1000.0), "peak_memory": estimate(1e9)}
    base, candidate = (_accepted(*[metrics] * 8, yardstick=seconds) for seconds in (1e-6, 2e-6))
    (measurement,) = _compared(base, candidate).measurements
    assert {row.metric: row.verdict for row in measurement.rows} == {
        "throughput": Verdict.INCONCLUSIVE,
        "peak_memory": Verdict.PASS,
    }


@pytest.mark.parametrize(
    ("scenario", "verdict"),
    [("ClosedLoop(clients=64)", Verdict.PASS), ("Server(rate=100)", Verdict.FAIL)],
)
def test_the_machine_s_speed_is_allowed_for(scenario: str, verdict: Verdict) -> None:
    """A machine slower by 20 % explains a lower throughput, except in an open loop.

    Provided that the sessions have shown that throughput follows the yardstick.
    """
    varying = [0.9, 1.1] * 5
    base, candidate = (
        _accepted(
            *[{"throughput": estimate(value / pace)} for pace in varying],
            yardsticks=[seconds * pace for pace in varying],
            scenario=scenario,
        )
        for value, seconds in ((1000.0, 1e-6), (1000 / 1.2, 1.2e-6))
    )
    (measurement,) = _compared(base, candidate).measurements
    assert measurement.note == (
        "the yardstick took 1.20 times as long as with the base, which was allowed for"
    )
    assert measurement.rows[0].verdict is verdict


def test_speeds_of_a_machine_that_was_not_quiet() -> None:
    """They are left open with the reason; answers are judged."""
    values = {"throughput": estimate(1000.0), "accuracy": counted(0.9)}
    slower = {"throughput": estimate(300.0), "accuracy": counted(0.9)}
    base, candidate = ({PLACE: _accepted(each)} for each in (values, slower))

    comparison = compare_sides(base, candidate, noise={PLACE: "the machine was not quiet"})

    rows = {row.metric: row for row in comparison.measurements[0].rows}
    assert rows["throughput"].verdict is Verdict.INCONCLUSIVE
    assert rows["throughput"].reason == "the machine was not quiet"
    assert rows["accuracy"].verdict is not Verdict.INCONCLUSIVE


def test_another_slo() -> None:
    """Goodput for another SLO is not compared, other metrics are."""
    metrics = {"throughput": estimate(1000.0), "goodput": estimate(900.0)}
    base, candidate = (_accepted(*[metrics] * 8, slo=slo) for slo in (0.01, 0.02))
    (measurement,) = _compared(base, candidate).measurements
    verdicts = {row.metric: (row.verdict, row.reason) for row in measurement.rows}
    assert verdicts == {
        "throughput": (Verdict.PASS, ""),
        "goodput": (Verdict.INCONCLUSIVE, "the base's goodput was for another slo"),
    }


def test_another_machine_class() -> None:
    """It is not compared with; the reason has the differences from the nearest class."""
    base = {MeasurementId(TEST, "", BIGGER): _throughputs(1000)}
    comparison = compare_sides(base, {PLACE: _throughputs(500)})
    (measurement,) = comparison.measurements
    assert measurement.rows[0].verdict is Verdict.INCONCLUSIVE
    assert measurement.rows[0].reason == (
        "the base was measured on another machine class: cores 8 -> 4, driver 560.1 -> none"
    )
    assert (measurement.base, measurement.base_sessions) == (None, 0)
    assert comparison.gone == ()


def test_two_machine_classes() -> None:
    """A measurement on two machine classes is compared on each."""
    sides = [
        {
            PLACE: _throughputs(*[value] * 8),
            MeasurementId(TEST, "", BIGGER): _throughputs(*[900] * 8),
        }
        for value in (1000, 700)
    ]
    comparison = compare_sides(*sides)
    verdicts = {m.key.machine.cores: m.rows[0].verdict for m in comparison.measurements}
    assert verdicts == {4: Verdict.FAIL, 8: Verdict.PASS}
    assert comparison.failed


def test_new_and_gone() -> None:
    """Measurements and metrics that only one side has are NEW, or listed as gone."""
    base = {
        PLACE: _accepted(
            {"throughput": estimate(1.0), "p50": estimate(1.0), "mean": estimate(1.0)}
        ),
        MeasurementId("t.py::old", "b", MACHINE): _throughputs(1),
    }
    candidate = {
        PLACE: _accepted({"throughput": estimate(1.0), "p95": estimate(1.0)}),
        MeasurementId("t.py::new", "", MACHINE): _throughputs(1),
    }

    comparison = compare_sides(base, candidate)

    rows = {
        (measurement.key.test, row.metric): (row.verdict, row.reason)
        for measurement in comparison.measurements
        for row in measurement.rows
    }
    assert rows[TEST, "p95"] == (Verdict.NEW, "the base has no p95")
    assert rows["t.py::new", "throughput"] == (
        Verdict.NEW,
        "only the candidate has this measurement",
    )
    assert comparison.gone == ("t.py::old [b]", f"p50 of {TEST}")
    assert not comparison.failed


def test_changed_software() -> None:
    """An upgrade is compared, with one warning for all tests."""
    newer = dataclasses.replace(ENVIRONMENT, tensorflow="2.19.0", numpy="2.2.0")
    places = [PLACE, MeasurementId(TEST, "b", MACHINE)]
    base = dict.fromkeys(places, _throughputs(*[1000] * 8))
    candidate = dict.fromkeys(places, _throughputs(*[1000] * 8, environment=newer))
    comparison = compare_sides(base, candidate)
    assert comparison.warnings == (
        "since the base: tensorflow 2.18.0 -> 2.19.0, numpy 2.1.0 -> 2.2.0",
    )
    assert all(m.rows[0].verdict is Verdict.PASS for m in comparison.measurements)


@pytest.mark.parametrize(("then", "now", "verdict"), [(500, 0, "FAIL"), (0, 500, "PASS")])
def test_a_rate_of_zero(then: float, now: float, verdict: str) -> None:
    """A fall to zero is a loss, a rise from zero a gain, with finite changes."""
    base, candidate = (_accepted(*[{"max_rate": counted(value)}] * 3) for value in (then, now))
    row = _row(base, candidate, "max_rate")
    assert (row.verdict, row.base, row.candidate) == (verdict, then, now)
    assert row.change is not None
    assert all(map(math.isfinite, dataclasses.astuple(row.change)))


@given(
    st.dictionaries(st.sampled_from(sorted(METRICS)), st.floats(0, 1), min_size=1),
    st.dictionaries(st.sampled_from(sorted(METRICS)), st.floats(0, 1), min_size=1),
    st.floats(0, 1),
)
def test_any_values(then: dict[str, float], now: dict[str, float], reach: float) -> None:
    """Any values have rows with finite numbers."""
    base, candidate = (
        _accepted({n: Estimate(v, v * (1 - reach), v * (1 + reach)) for n, v in side.items()})
        for side in (then, now)
    )
    (measurement,) = compare_sides({PLACE: base}, {PLACE: candidate}, METRICS).measurements
    rows = measurement.rows
    assert {row.metric for row in rows} == set(now)
    for row in rows:
        figures = [row.candidate, row.base, row.fails_at]
        figures += dataclasses.astuple(row.change) if row.change else []
        assert all(math.isfinite(value) for value in figures if value is not None)
        assert (row.change is None) == (row.metric not in then)


def test_sides_are_not_changed() -> None:
    """Sides may be read-only."""
    side = MappingProxyType({PLACE: _throughputs(1000)})
    assert len(compare_sides(side, side).measurements) == 1
