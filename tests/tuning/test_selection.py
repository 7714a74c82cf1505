"""Which configurations are compared with the setup without tuning, and which is recommended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from builders import estimate, make_rows
from hypothesis import given
from hypothesis import strategies as st
from studies import GOAL, a_finalist, a_knob, a_study, a_trial

from pytest_dlperf.metrics import METRICS
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.tuning.configuration import Configuration, configured
from pytest_dlperf.tuning.effects import worth_of
from pytest_dlperf.tuning.goal import parse_goal
from pytest_dlperf.tuning.result import WEIGHED, Finalist, TrialResult
from pytest_dlperf.tuning.selection import (
    common_metrics,
    dominates,
    finalists_of,
    front,
    recommended,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Point = Mapping[str, Estimate]


UNITS = a_knob("units", 512, 256, 128, 64, 32)


def of(units: int) -> Configuration:
    """A configuration."""
    return configured((UNITS,), {"units": units})


def trial(units: int, throughput: float, accuracy: float = 0.97, p99: float = 0.002) -> TrialResult:
    """A trial whose speeds are known to 1 %, and whose accuracy is known exactly."""
    speeds = {"throughput": estimate(throughput, 0.01), "p99": estimate(p99, 0.01)}
    return a_trial(of(units), {**speeds, "accuracy": accuracy})


def chosen(*trials: TrialResult, count: int = 3) -> list[object]:
    """The units of the finalists."""
    return [configuration.values["units"] for configuration in finalists_of(trials, GOAL, count)]


def test_a_value_is_told_of_by_itself() -> None:
    """Beside other values it is worth ten times as much: the trial of it alone is what counts."""
    other = a_knob("layers", 1, 2)
    knobs = (UNITS, other)

    def tried(units: int, layers: int, throughput: float) -> TrialResult:
        metrics = {"throughput": estimate(throughput, 0.01)}
        return a_trial(configured(knobs, {"units": units, "layers": layers}), metrics)

    trials = [
        tried(512, 1, 1000.0),
        tried(256, 1, 1200.0),
        tried(512, 2, 500.0),
        tried(256, 2, 1500.0),
        tried(128, 2, 1000.0),
    ]
    metrics = {
        effect.value: effect for effect in worth_of(trials, knobs, GOAL) if effect.knob == "units"
    }

    assert metrics["256"].change.value == pytest.approx(0.2)
    assert metrics["256"].change.high - metrics["256"].change.low < 0.1
    assert metrics["128"].change.value == pytest.approx(1.0)


BASE = trial(512, 1000.0)


@pytest.mark.parametrize(
    ("trials", "finalists"),
    [
        pytest.param(
            [trial(256, 1200, 0.971), trial(128, 1500), trial(64, 1400, 0.9705)],
            [128, 64, 256],
            id="by the objective, without the base",
        ),
        pytest.param(
            [trial(256, 5000, 0.95), trial(128, 1500)], [128], id="breaks a relative constraint"
        ),
        pytest.param(
            [trial(256, 5000, p99=0.021), trial(128, 1500)],
            [128],
            id="breaks an absolute constraint",
        ),
        pytest.param(
            [trial(256, 1200, 0.969, 0.003), trial(128, 1500)], [128], id="beaten in every metric"
        ),
        pytest.param([trial(256, 1200, 0.969, 0.003)], [256], id="beaten by none"),
        pytest.param(
            [trial(256, 5000, p99=0.0001, accuracy=0.95), trial(128, 1500)],
            [128],
            id="what breaks a constraint beats nothing",
        ),
        pytest.param([trial(256, 950, 0.99)], [], id="worse than without tuning"),
        pytest.param([trial(256, 990, 0.99)], [256], id="worse within the noise"),
        pytest.param(
            [
                TrialResult(of(256), failed="diverged"),
                TrialResult(of(128), skipped="does not go together"),
            ],
            [],
            id="failed and skipped",
        ),
    ],
)
def test_finalists(trials: list[TrialResult], finalists: list[int]) -> None:
    """The best within the constraints that no other one beats, beyond the noise."""
    assert chosen(BASE, *trials) == finalists
    assert chosen(BASE, *trials, count=1) == finalists[:1]
    assert chosen(TrialResult(of(512), failed="diverged"), *trials) == []


def test_doubtful_ones_come_last() -> None:
    """Whoever is beyond a limit within the noise comes after those within it, however fast."""
    doubtful = a_trial(
        of(256),
        {
            "throughput": estimate(2000.0, 0.01),
            "p99": estimate(0.001, 0.01),
            "accuracy": Estimate(0.962, 0.955, 0.968),
        },
    )

    assert chosen(BASE, doubtful, trial(128, 1500)) == [128, 256]


def test_sure_ones_come_before_unsure_ones() -> None:
    """The comparison asks the same rows: where they leave the accuracy open, they leave it open."""
    rows, level = [1] * 970 + [0] * 30, {"throughput": 2000.0, "p99": 0.001}
    shares = {name: Estimate(name, name - 0.01, name + 0.01) for name in (0.97, 0.966)}

    def scored(units: int, right: Sequence[int], throughput: float) -> TrialResult:
        share = sum(right) / 1000
        metrics = {**level, "throughput": estimate(throughput, 0.01), "accuracy": shares[share]}
        return a_trial(of(units), metrics, rows=make_rows(right))

    # Four rows less of a thousand: one way only, or as the sum of many that changed.
    few = [0] * 4 + rows[4:]
    many = [0] * 34 + rows[34:970] + [1] * 30
    base = scored(512, rows, 1000.0)

    assert chosen(base, scored(256, many, 2000.0), scored(128, few, 1500.0)) == [128, 256]


def test_the_recommendation_is_the_best_that_is_proven() -> None:
    """The largest gain of those that pass; what is larger and not proven does not count."""
    finalists = [
        a_finalist(of(256), 1.2),
        a_finalist(of(128), 1.5),
        a_finalist(of(64), 3.0, Verdict.INCONCLUSIVE),
        a_finalist(of(32), 4.0, Verdict.FAIL),
    ]

    assert recommended(finalists, GOAL) is finalists[1]
    assert recommended(finalists[2:], GOAL) is None
    assert recommended([], GOAL) is None


def test_less_is_better_of_latencies() -> None:
    """Of two latencies the smaller ratio is the larger gain."""
    finalists = [a_finalist(of(256), 0.9), a_finalist(of(128), 0.7)]

    assert recommended(finalists, parse_goal(["minimize p99"])) is finalists[1]


def test_what_a_study_concludes() -> None:
    """The setup of the recommendation, with the comparison that proved it."""
    trials = [BASE, trial(256, 1200), trial(128, 1500)]
    finalists = [a_finalist(of(128), 1.5), a_finalist(of(256), 1.2)]
    tuned = a_study(trials, (UNITS,), finalists)

    assert tuned.improved
    assert tuned.recommended == of(128)
    assert tuned.setup.arguments == {"units": 128}
    assert tuned.winner is finalists[0]
    assert tuned.reason.startswith("proven better")
    assert {effect.knob for effect in tuned.effects} == {"units"}


@pytest.mark.parametrize(
    ("trials", "finalists", "reason"),
    [
        ([BASE], [], "no other configuration"),
        (
            [TrialResult(of(512), failed="diverged")],
            [],
            "the setup without tuning failed: diverged",
        ),
        (
            [BASE, trial(128, 1500)],
            [a_finalist(of(128), 1.0, Verdict.INCONCLUSIVE)],
            "none of 1 compared is proven better within every constraint",
        ),
        (
            [BASE, trial(128, 1500)],
            [a_finalist(of(128), 0.9, Verdict.FAIL)],
            "none of 1 compared is proven better within every constraint, 1 of them FAIL",
        ),
    ],
)
def test_without_proof_nothing_changes(
    trials: list[TrialResult], finalists: list[Finalist], reason: str
) -> None:
    """Then the setup without tuning is what is recommended, and it is said why."""
    tuned = a_study(trials, (UNITS,), finalists)

    assert not tuned.improved
    assert tuned.recommended == of(512)
    assert tuned.setup.arguments == {"units": 512}
    assert tuned.winner is None
    assert tuned.reason.startswith(reason)


BOTH = ("throughput", "p99")


def point(throughput: float, p99: float, noise: float = 0.0) -> Point:
    """Two metrics whose intervals reach as far to both sides."""
    return {"throughput": estimate(throughput, noise), "p99": estimate(p99, noise)}


@pytest.mark.parametrize(
    ("points", "metrics", "places"),
    [
        pytest.param([], BOTH, (), id="no point"),
        pytest.param(
            [point(100, 1), point(200, 2), point(150, 3), point(300, 5), point(90, 1)],
            BOTH,
            (0, 1, 3),
            id="known",
        ),
        pytest.param(
            [point(100, 1), point(200, 2), point(200, 3)],
            ["throughput"],
            (1, 2),
            id="of one metric the best, and its equals",
        ),
        pytest.param([point(100, 1), point(200, 2)], ["p99"], (0,), id="less is better"),
        pytest.param([point(100, 1, 0.01), point(104, 1, 0.01)], BOTH, (1,), id="beyond the noise"),
        pytest.param(
            [point(100, 1, 0.05), point(104, 1, 0.05)], BOTH, (0, 1), id="within the noise"
        ),
        pytest.param(
            [point(100, 1.0), point(200, 1.0001)], BOTH, (0, 1), id="a loss is not made up for"
        ),
        pytest.param([point(100, 1), point(100, 1)], BOTH, (0, 1), id="equal"),
    ],
)
def test_front(points: list[Point], metrics: Sequence[str], places: tuple[int, ...]) -> None:
    """The points that none beats in one metric, without being worse in another."""
    assert front(points, metrics) == places


def test_a_metric_that_is_not_known() -> None:
    """What lacks a metric neither beats nor is beaten."""
    points = [point(100, 1), {"throughput": counted(50.0)}]

    assert front(points, BOTH) == (0, 1)
    assert common_metrics(points, BOTH) == ("throughput",)
    assert front(points, common_metrics(points, BOTH)) == (0,)


values = st.floats(0.5, 2.0)
points = st.lists(
    st.fixed_dictionaries(
        {name: st.builds(estimate, values, st.sampled_from([0.0, 0.01, 0.2])) for name in WEIGHED}
    ),
    min_size=1,
    max_size=8,
)


@given(points)
def test_a_front_is_its_own_front(given_points: list[Point]) -> None:
    """Nothing on it is beaten by anything, and something always is on it."""
    places = front(given_points, WEIGHED)
    metrics = [METRICS[name] for name in WEIGHED]
    kept = [given_points[place] for place in places]

    assert kept
    assert front(kept, WEIGHED) == tuple(range(len(kept)))
    assert not any(dominates(other, point, metrics) for point in kept for other in given_points)


@given(points)
def test_what_is_off_the_front_is_beaten(given_points: list[Point]) -> None:
    """For each point that is left out there is one that is no worse in anything."""
    places = set(front(given_points, WEIGHED))
    metrics = [METRICS[name] for name in WEIGHED]

    for place in set(range(len(given_points))) - places:
        assert any(dominates(other, given_points[place], metrics) for other in given_points)
