"""Which runs a timeline has, and which commits a change of level is attributed to."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import ENVIRONMENT, MACHINE, estimate
from entries import commit_of, make_entry, make_run

from pytest_dlperf.history.company import Company
from pytest_dlperf.history.timeline import (
    FALSE_ALARMS,
    LevelChange,
    Timeline,
    comparable_entries,
    timeline_of,
)
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_dlperf.history.entries import Entry

_UPGRADED = dataclasses.replace(ENVIRONMENT, tensorflow="2.19.0")


def _entries(
    values: Sequence[float],
    metric: str = "throughput",
    **fields: Any,  # noqa: ANN401 - any field
) -> tuple[Entry, ...]:
    """A run for each value, the oldest first."""
    return tuple(
        make_entry({metric: estimate(float(value))}, run=make_run(at), **fields)
        for at, value in enumerate(values)
    )


def _noisy(*levels: tuple[float, int], seed: int = 0) -> list[float]:
    """Levels of some length each, with a noise of 1 %."""
    random = np.random.default_rng(seed)
    values = np.concatenate([np.full(length, level) for level, length in levels])
    drawn: list[float] = (values * np.exp(random.normal(0, 0.01, len(values)))).tolist()
    return drawn


def _timeline(entries: tuple[Entry, ...], *metrics: str, alpha: float = FALSE_ALARMS) -> Timeline:
    return timeline_of(entries, (), metrics or ("throughput",), alpha, np.random.default_rng(0))


def _change(entries: tuple[Entry, ...], metric: str = "throughput") -> LevelChange:
    (curve,) = _timeline(entries, metric).curves
    (change,) = curve.changes
    return change


def test_comparable_runs() -> None:
    """Runs that can be compared with the newest are kept, oldest first; the others are counted."""
    newest_first = (
        make_entry(run=make_run(9)),
        make_entry(run=make_run(8), verdict=Verdict.INVALID),
        make_entry(run=make_run(7), scenario="Offline()"),
        make_entry(run=make_run(6), verdict=Verdict.FAIL),
        make_entry(run=make_run(5, machine=dataclasses.replace(MACHINE, cores=8))),
        make_entry(run=make_run(4), serving="Serving(replicas=2)"),
        make_entry(run=make_run(3), slo=0.02),
        make_entry(run=make_run(2), environment=dataclasses.replace(ENVIRONMENT, threads="2")),
        make_entry(run=make_run(1), environment=_UPGRADED),
        make_entry(run=make_run(0), scenario="Offline()"),
    )

    kept, left_out = comparable_entries(newest_first)

    assert [int(entry.run.key, 16) for entry in kept] == [1, 6, 9]
    assert left_out == (
        "1 run whose measuring failed (INVALID)",
        "2 runs with scenario Offline()",
        "1 run on test-cpu-2.4ghz-8cpu-16gib",
        "1 run with serving Serving(replicas=2)",
        "1 run with slo 0.02",
        "1 run before threads 2 -> none",
    )


def test_conditions_of_a_run_under_a_debugger() -> None:
    """It does not set the conditions of the others; alone it is shown."""
    traced = dataclasses.replace(ENVIRONMENT, instrumentation="python -X dev")
    newest_first = (
        make_entry(run=make_run(3), environment=traced),
        make_entry(run=make_run(2)),
        make_entry(run=make_run(1)),
    )

    kept, left_out = comparable_entries(newest_first)

    assert [int(entry.run.key, 16) for entry in kept] == [1, 2]
    assert left_out == ("1 run measured under python -X dev, which slows Python code down",)
    assert comparable_entries(newest_first[:1]) == (newest_first[:1], ())


def test_conditions_of_an_invalid_run() -> None:
    """An INVALID newest run does not set the conditions."""
    newest_first = (
        make_entry(run=make_run(2), verdict=Verdict.INVALID, scenario="Offline()"),
        make_entry(run=make_run(1)),
    )
    kept, _ = comparable_entries(newest_first)
    assert len(kept) == 1
    assert comparable_entries(newest_first[:1]) == ((), ("1 run whose measuring failed (INVALID)",))


def test_a_change_is_between_two_commits() -> None:
    """The last that is certainly before it and the first that is certainly after it."""
    change = _change(_entries(_noisy((1000, 30), (900, 20))))

    assert change.low <= change.run <= change.high
    assert abs(change.run - 30) <= 1
    assert change.change.low < -0.1 < change.change.high
    assert change.worse
    assert (change.before, change.after) == pytest.approx((1000, 900), rel=0.01)
    assert change.good == commit_of(change.low - 1)
    assert change.bad == commit_of(change.high)
    assert change.software == ()


@pytest.mark.parametrize(
    ("metric", "after", "worse"),
    [("throughput", 900, True), ("throughput", 1100, False), ("p50", 900, False)],
)
def test_what_is_worse(metric: str, after: float, *, worse: bool) -> None:
    """Less throughput is worse, less latency is better; the change is the metric's own."""
    change = _change(_entries(_noisy((1000, 30), (after, 20)), metric), metric)
    assert change.worse is worse
    assert change.change.low <= change.change.value <= change.change.high
    assert math.copysign(1, change.change.value) == math.copysign(1, after - 1000)


def test_changed_software() -> None:
    """Software that differs between the two commits is named."""
    values = _noisy((1000, 30), (900, 20))
    old = _entries(values[:30])
    new = _entries(values, environment=_UPGRADED)[30:]
    assert _change((*old, *new)).software == ("tensorflow 2.18.0 -> 2.19.0",)


def test_uncommitted_code_is_no_end_of_a_range() -> None:
    """Its runs are on the curve, but git cannot name them."""
    values = _noisy((1000, 30), (900, 20))
    entries = tuple(
        make_entry(
            {"throughput": estimate(value)},
            run=make_run(at, commit=f"{commit_of(at)}+" if 20 <= at < 40 else commit_of(at)),
        )
        for at, value in enumerate(values)
    )
    change = _change(entries)
    assert (change.good, change.bad) == (commit_of(19), commit_of(40))


@pytest.mark.parametrize("commit", ["", "abc+"])
def test_no_commit_at_all(commit: str) -> None:
    """Outside of a repository a change has no commits."""
    entries = tuple(
        make_entry({"throughput": estimate(value)}, run=make_run(at, commit=commit))
        for at, value in enumerate(_noisy((1000, 30), (900, 20)))
    )
    change = _change(entries)
    assert (change.good, change.bad, change.software) == ("", "", ())


def test_metrics_that_only_some_runs_have() -> None:
    """A curve has the runs with the metric; its changes are indices among all runs."""
    values = iter(_noisy((1000, 20), (900, 20)))
    entries = tuple(
        make_entry(
            {"p50": counted(1.0), **({"throughput": estimate(next(values))} if at % 2 else {})},
            run=make_run(at),
        )
        for at in range(80)
    )

    timeline = _timeline(entries, "throughput", "p99", "p50")

    assert [curve.metric for curve in timeline.curves] == ["throughput", "p50"]
    assert timeline.curves[0].runs == tuple(range(1, 80, 2))
    assert timeline.curves[1].changes == ()
    (change,) = timeline.curves[0].changes
    assert abs(change.run - 41) <= 2
    assert change.run % 2 == 1


def test_shares_change_in_points() -> None:
    """An accuracy that falls from 97 to 96 % loses a point."""
    entries = _entries([0.97] * 20 + [0.96] * 20, "accuracy")
    change = _change(entries, "accuracy")
    assert change.worse
    assert (change.run, change.low, change.high) == (20, 20, 20)
    assert change.change.value == pytest.approx(-0.01)


def _with_machine(
    values: Sequence[float], speeds: Sequence[float | None], scenario: str
) -> tuple[Entry, ...]:
    return tuple(
        make_entry(
            {"throughput": estimate(value)}, run=make_run(at), yardstick=speed, scenario=scenario
        )
        for at, (value, speed) in enumerate(zip(values, speeds, strict=True))
    )


@pytest.mark.parametrize(
    ("scenario", "changes"), [("ClosedLoop(clients=64)", 0), ("Server(rate=1000)", 1)]
)
def test_a_slower_machine_is_no_slower_code(scenario: str, changes: int) -> None:
    """A slower reference model explains a lower throughput, but not in an open loop."""
    speeds = [1e-6] * 25 + [1.1e-6] * 25
    values = [v / (s / 1e-6) for v, s in zip(_noisy((1000, 50)), speeds, strict=True)]

    (curve,) = _timeline(_with_machine(values, speeds, scenario)).curves

    assert len(curve.changes) == changes
    assert curve.adjusted is (changes == 0)
    assert curve.values.tolist() == values


def test_slower_code_on_a_machine_that_varies() -> None:
    """A loss of 4 % is found on a machine whose speed varies by 8 %."""
    speeds = (1e-6 * np.exp(np.random.default_rng(1).normal(0, 0.08, 80))).tolist()
    levels = _noisy((1000, 50), (960, 30))
    values = [v / (s / 1e-6) for v, s in zip(levels, speeds, strict=True)]

    (plain,) = _timeline(_entries(values)).curves
    change = _change(_with_machine(values, speeds, "ClosedLoop(clients=64)"))

    assert plain.changes == ()
    assert abs(change.run - 50) <= 3
    assert change.change.value == pytest.approx(-0.04, abs=0.01)


def test_yardsticks_that_some_runs_lack() -> None:
    """Then no run is adjusted."""
    speeds = [None, *[1e-6] * 24, *[1.1e-6] * 25]
    values = [v / ((s or 1e-6) / 1e-6) for v, s in zip(_noisy((1000, 50)), speeds, strict=True)]
    (curve,) = _timeline(_with_machine(values, speeds, "ClosedLoop(clients=64)")).curves
    assert len(curve.changes) == 1
    assert not curve.adjusted


def test_no_change_in_noise() -> None:
    """At most one in five hundred histories without a change is reported to have one."""
    alarms = [
        bool(_timeline(_entries(_noisy((1000, 60), seed=seed))).curves[0].changes)
        for seed in range(100)
    ]
    assert sum(alarms) <= 2


def test_a_rate_of_none() -> None:
    """A search that found no rate is a level of 0, not an error."""
    entries = _entries([500.0] * 10 + [0.0] * 10, "max_rate")
    change = _change(entries, "max_rate")
    assert change.worse
    assert change.run == 10
    assert math.isfinite(change.change.low)
    assert change.change.value == pytest.approx(-1)


def _of_test(
    test: str,
    values: Sequence[float],
    runs: Sequence[int] = range(60),
    metric: str = "throughput",
    **fields: Any,  # noqa: ANN401 - any field
) -> tuple[Entry, ...]:
    pairs = zip(values, runs, strict=True)
    return tuple(
        make_entry({metric: estimate(float(v))}, run=make_run(at), test=test, **fields)
        for v, at in pairs
    )


def _beside(entries: tuple[Entry, ...], *others: tuple[Entry, ...]) -> Timeline:
    company = Company({other[0].test: (other,) for other in others})
    metrics, rng = (name for name in entries[0].result.metrics), np.random.default_rng(0)
    return timeline_of(entries, (), metrics, FALSE_ALARMS, rng, company=company)


def _moving(seed: int, *levels: tuple[float, int]) -> list[float]:
    return _noisy(*levels, seed=seed)


_SLOWER = ((1000, 40), (900, 20))
_SAME = ((1000, 60),)


@pytest.mark.parametrize("metric", ["throughput", "p50", "peak_memory"])
def test_what_all_tests_share_is_told_once(metric: str) -> None:
    """With what changed in the environment; the curve itself has no change."""
    own, *others = (
        (
            *_of_test(f"t{n}", _moving(n, *_SLOWER)[:40], range(40), metric),
            *_of_test(
                f"t{n}", _moving(n, *_SLOWER)[40:], range(40, 60), metric, environment=_UPGRADED
            ),
        )
        for n in range(5)
    )
    timeline = _beside(own, *others)
    (curve,) = timeline.curves
    (common,) = timeline.common
    assert (curve.changes, curve.others, curve.alone) == ((), 4, 0)
    assert (common.tests, common.of, common.kind == "memory") == (5, 5, metric == "peak_memory")
    assert abs(common.run - 40) <= 1
    ratio = 1000 / 900 if metric == "throughput" else 0.9
    assert common.change.value == pytest.approx(ratio - 1, abs=0.02)
    assert common.software == ("tensorflow 2.18.0 -> 2.19.0",)
    assert (common.good, common.bad) == (commit_of(common.low - 1), commit_of(common.high))


def test_a_change_of_one_test_beside_others() -> None:
    """It is its own, and no common one."""
    own = _of_test("t0", _moving(0, *_SLOWER))
    timeline = _beside(own, *(_of_test(f"t{n}", _moving(n, *_SAME)) for n in range(1, 5)))
    (change,) = timeline.curves[0].changes
    assert abs(change.run - 40) <= 1
    assert timeline.common == ()


@pytest.mark.parametrize("others", [0, 1, 2])
def test_too_few_other_tests(others: int) -> None:
    """With fewer than three others a step is told as before, since nothing says whose it is."""
    tests = [_of_test(f"t{n}", _moving(n, *_SLOWER)) for n in range(others + 1)]
    (curve,) = _beside(*tests).curves
    assert len(curve.changes) == 1
    assert curve.others == 0


def test_runs_without_the_others() -> None:
    """They are shown, and not searched; of mostly such runs all are searched alone."""
    own = _of_test("t0", _moving(0, *_SLOWER))
    for length, alone, beside in ((50, 10, 4), (20, 0, 0)):
        others = (_of_test(f"t{n}", _moving(n, (1000, length)), range(length)) for n in range(1, 5))
        (curve,) = _beside(own, *others).curves
        assert (curve.alone, curve.others, len(curve.values)) == (alone, beside, 60)


def test_what_does_not_follow_the_machine() -> None:
    """Answers, and the rate of arrivals, are not compared with other tests."""
    others = [_of_test(f"t{n}", _moving(n, *_SLOWER)) for n in range(1, 5)]
    rate = _of_test("t0", _moving(0, *_SAME), scenario="Server(rate=1000)")
    share = _of_test("t0", [0.97] * 60, metric="accuracy")
    for own in (rate, share):
        timeline = _beside(own, *others)
        assert (timeline.curves[0].others, timeline.curves[0].changes, timeline.common) == (
            0,
            (),
            (),
        )


def test_the_yardstick_is_taken_off_all_tests() -> None:
    """A slower machine, which the yardstick shows, is no common change of the tests."""
    speeds = [1e-6] * 30 + [1.1e-6] * 30
    own, *others = (
        tuple(
            make_entry(
                {"throughput": estimate(v / (s / 1e-6))},
                run=make_run(at),
                test=f"t{n}",
                yardstick=None if n else s,
            )
            for at, (v, s) in enumerate(zip(_moving(n, *_SAME), speeds, strict=True))
        )
        for n in range(5)
    )
    timeline = _beside(own, *others)
    assert (timeline.curves[0].adjusted, timeline.curves[0].changes, timeline.common) == (
        *(True, ()),
        (),
    )
