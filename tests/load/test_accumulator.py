"""Accumulator: the same totals however a run is cut, and whether or not it is bucketed."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import make_samples, totals_of
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.load.accumulator import TimeBuckets
from pytest_dlperf.load.samples import Outcome, Samples
from pytest_dlperf.load.summary import summarise_load
from pytest_dlperf.load.totals import (
    CountedLatencies,
    EachLatency,
    LoadTotals,
    Unanswered,
    few_sizes,
)
from pytest_dlperf.statistics.histogram import ERROR
from pytest_dlperf.statistics.percentiles import percentiles

if TYPE_CHECKING:
    from collections.abc import Sequence

MS = 1_000_000
PERCENTS = (50.0, 90.0, 99.0)
ALL = Unanswered(0, 0)


def segments(samples: Samples, places: Sequence[int]) -> list[Samples]:
    """A run cut after some of its calls; what belongs to its end stays with the last segment."""
    borders = sorted({0, len(samples.stop), *(place % len(samples.stop) for place in places)})
    parts = []
    for begin, end in itertools.pairwise(borders):
        first = int(samples.stop[begin - 1]) if begin else 0
        requests = slice(first, int(samples.stop[end - 1]))
        last = end == len(samples.stop)
        parts.append(
            replace(
                samples,
                first=first,
                intended_ns=samples.intended_ns[requests],
                outcome=samples.outcome[requests],
                stop=samples.stop[begin:end] - first,
                dispatched_ns=samples.dispatched_ns[begin:end],
                done_ns=samples.done_ns[begin:end],
                replica=samples.replica[begin:end],
                late_ns=samples.late_ns if last else samples.late_ns[:0],
                unfinished=samples.unfinished if last else 0,
                rejected=samples.rejected if last else 0,
            )
        )
    return parts


def plain(totals: LoadTotals) -> list[object]:
    """Everything that a totals says, comparable."""
    columns = [
        getattr(table, name).tolist()
        for table in (totals.blocks, totals.points)
        for name in ("ends_ns", "calls", "requests", "good", "within", "queries", "latency_ns")
    ]
    curve = [totals.point_latencies.quantile_ns(share).tolist() for share in (0.5, 0.99)]
    return [
        *columns,
        str(curve),  # as text, since NaN differs from itself
        percentiles(totals.latencies.seconds(ALL), PERCENTS) if totals.queries else None,
        (totals.longest_ns, totals.point_ns, totals.queue_ns, totals.service_ns, totals.span_ns),
        dict(totals.batch_sizes),
        totals.replicas,
        totals.wake_ups,
        (totals.in_time, totals.unfinished, totals.rejected, totals.total),
    ]


@st.composite
def runs(draw: st.DrawFn) -> Samples:
    """Any run: sizes, times, outcomes, replicas and queries."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=40))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    calls, requests = len(sizes), sum(sizes)
    dispatched = np.cumsum(random.integers(0, draw(st.sampled_from([10, 10**6, 10**9])), calls))
    done = dispatched + random.integers(0, 5 * MS, calls)
    intended = np.repeat(dispatched, sizes) - random.integers(0, 9 * MS, requests)
    samples = make_samples(
        sizes,
        (10 * MS + done).tolist(),
        dispatched_ns=(10 * MS + dispatched).tolist(),
        intended_ns=np.sort(10 * MS + intended).tolist(),
        replica=random.integers(0, 2, calls).tolist(),
        outcome=(random.random(requests) < 0.1).astype(int).tolist(),
        late_ns=random.integers(0, 3 * MS, 5).tolist(),
        unfinished=3,
        per_query=draw(st.integers(1, 5)),
    )
    return replace(samples, rejected=2)


@given(
    runs(),
    st.lists(st.integers(0, 99), max_size=6),
    st.sampled_from([0, 10, 10**6]),
    st.floats(1e-3, 3),
)
def test_where_a_run_is_cut_makes_no_difference(
    samples: Samples, places: list[int], exact: int, seconds: float
) -> None:
    """Segments cut anywhere give the totals of the whole run, exact or bucketed."""
    settings = {"seconds": seconds, "replicas": 2, "slo": 0.004}
    exact = 0 if exact < len(samples.outcome) else exact
    whole = totals_of(samples, exact=exact, **settings)

    cut = totals_of(*segments(samples, places), exact=exact, **settings)

    assert plain(cut) == plain(whole)


@given(runs(), st.lists(st.integers(0, 99), max_size=6), st.integers(0, 100))
def test_when_a_run_is_folded_makes_no_difference(
    samples: Samples, places: list[int], exact: int
) -> None:
    """A run that is bucketed midway has the totals of one bucketed from the start."""
    exact = min(exact, len(samples.outcome) - 1)

    late = totals_of(*segments(samples, places), exact=exact, replicas=2, seconds=0.01)

    assert plain(late) == plain(totals_of(samples, exact=0, replicas=2, seconds=0.01))


@given(runs(), st.floats(1e-3, 3))
def test_folding_loses_a_thousandth_at_most(samples: Samples, seconds: float) -> None:
    """Counts, sums and curves of a bucketed run are exact; percentiles and medians are to 0.1 %."""
    settings = {"seconds": seconds, "replicas": 2, "slo": 0.004}
    exact, folded = totals_of(samples, **settings), totals_of(samples, exact=0, **settings)

    assert isinstance(exact.latencies, EachLatency)
    assert isinstance(folded.latencies, CountedLatencies)
    for name in ("calls", "answered", "good", "queries", "total", "span_ns", "utilisation"):
        assert getattr(folded, name) == getattr(exact, name)
    assert folded.longest_ns == exact.longest_ns
    assert folded.blocks.latency_ns.sum() == exact.blocks.latency_ns.sum()
    assert folded.blocks.within.sum() == exact.blocks.within.sum()
    np.testing.assert_array_equal(folded.points.requests, exact.points.requests)
    if not exact.queries:
        return
    estimates, truth = (
        percentiles(totals.latencies.seconds(ALL), PERCENTS) for totals in (folded, exact)
    )
    for percent in PERCENTS:
        assert estimates[percent].value == pytest.approx(truth[percent].value, rel=ERROR, abs=1e-9)


def steady(calls: int, size: int = 10) -> Samples:
    """Calls of 1 ms back to back, whose requests were due 4 ms before they were done, or so."""
    done = np.arange(1, calls + 1) * MS
    waited = np.random.default_rng(0).lognormal(0, 0.3, calls * size) * 4 * MS
    return make_samples(
        [size] * calls,
        done.tolist(),
        dispatched_ns=(done - MS).tolist(),
        intended_ns=(np.repeat(done, size) - waited).astype(np.int64).tolist(),
    )


def test_a_folded_run_has_the_metrics_of_an_exact_one() -> None:
    """Throughput and mean agree in value and interval, percentiles within 0.2 % in both."""
    samples = steady(20_000)

    exact = summarise_load(totals_of(samples), latencies=True).metrics
    folded = summarise_load(totals_of(samples, exact=0), latencies=True).metrics

    assert folded.keys() == exact.keys()
    for name in ("throughput", "mean", "max", "errors"):
        assert folded[name].value == pytest.approx(exact[name].value)
        for part in ("low", "high"):
            tolerance = ERROR if name == "mean" else 1e-6
            assert getattr(folded[name], part) == pytest.approx(
                getattr(exact[name], part), rel=tolerance
            )
    for name in ("p50", "p90", "p95", "p99", "p99.9"):
        assert folded[name].value == pytest.approx(exact[name].value, rel=ERROR)
        assert folded[name].low == pytest.approx(exact[name].low, rel=2 * ERROR)
        assert folded[name].high == pytest.approx(exact[name].high, rel=2 * ERROR)


@pytest.mark.parametrize("exact", [0, 10**6])
def test_a_run_that_overran(exact: int) -> None:
    """A run of a hundred times its planned length has blocks and points, and few of them."""
    totals = totals_of(steady(10_000), seconds=0.1, exact=exact)

    assert len(totals.blocks) == 20
    assert totals.blocks.requests.tolist() == pytest.approx([5000] * 20, rel=0.1)
    assert 20 <= len(totals.points) <= 400
    assert totals.points.requests.sum() == 100_000


def test_each_replicas_work_by_hand() -> None:
    """Busy time, calls, requests and share of the run, one that had nothing to do included."""
    samples = make_samples([3, 1, 2], [40, 90, 100], dispatched_ns=[0, 40, 70], replica=[0, 0, 2])

    totals = totals_of(samples, replicas=3)

    assert [(work.busy_ns, work.calls, work.requests) for work in totals.replicas] == [
        (90, 2, 4),
        (0, 0, 0),
        (30, 1, 2),
    ]
    assert totals.utilisation == (0.9, 0.0, 0.3)
    assert totals.batch_sizes == {1: 1, 2: 1, 3: 1}


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        (range(1, 33), dict.fromkeys(range(1, 33), 1)),
        (range(1, 34), {1: 1, 2: 1, 4: 2, 8: 4, 16: 8, 32: 16, 64: 1}),
    ],
)
def test_many_batch_sizes_are_folded(sizes: range, shown: dict[int, int]) -> None:
    """Up to 32 sizes are shown as they are, more by powers of two, each with those below it."""
    assert few_sizes(dict.fromkeys(sizes, 1)) == shown


def test_a_run_without_a_call() -> None:
    """A run without a call has empty totals."""
    totals = totals_of(make_samples([], [], unfinished=2))

    assert (totals.calls, totals.answered, totals.queries, totals.total) == (0, 0, 0, 2)
    assert totals.span_ns == 0


def test_errors_within_the_limit_are_no_goodput() -> None:
    """Only good answers count, and those at the limit do."""
    samples = make_samples(
        [4], [1000], intended_ns=[0, 500, 700, 800], outcome=[0, 0, Outcome.EXCEPTION, 0]
    )

    totals = totals_of(samples, slo=500e-9)

    assert totals.blocks.within.tolist() == [2]


@given(st.floats(1e-6, 1e5), st.integers(0, 10**18), st.lists(st.integers(0, 10**15), min_size=1))
def test_every_time_has_its_bucket(seconds: float, started: int, offsets: list[int]) -> None:
    """However long a run takes, there are 400 buckets at most, in order, each in its point."""
    buckets = TimeBuckets(started, seconds)
    ends = started + np.sort(np.array(offsets, np.int64))
    buckets.reach(int(ends[-1]))

    bucket = buckets.bucket(ends)

    span = int(ends[-1]) - started
    assert (bucket >= 0).all()
    assert (bucket < buckets.count).all()
    assert (np.diff(bucket) >= 0).all()
    np.testing.assert_array_equal(buckets.point(ends, span), buckets.point_of_buckets(span)[bucket])
    assert buckets.points(span) <= buckets.count


@given(st.floats(1e-6, 1e5), st.integers(1, 10**15), st.integers(1, 10**15))
def test_reaching_step_by_step(seconds: float, near: int, far: int) -> None:
    """Widening in steps gives the same buckets as widening at once."""
    at_once, by_steps = TimeBuckets(0, seconds), TimeBuckets(0, seconds)

    by_steps.reach(min(near, far))
    by_steps.reach(max(near, far))
    at_once.reach(max(near, far))

    assert (by_steps.width_ns, by_steps.point_ns) == (at_once.width_ns, at_once.point_ns)


def test_a_run_of_its_time_has_200_windows() -> None:
    """Five seconds: buckets of 25 ms, four to a point; what ends on a border belongs before it."""
    buckets = TimeBuckets(1000, 5.0)

    assert buckets.width_ns == 25_000_000
    assert buckets.point_ns == 100_000_000
    ends = 1000 + np.array([0, 1, 25_000_000, 25_000_001, 5_000_000_000])
    assert buckets.bucket(ends).tolist() == [0, 0, 0, 1, 199]
