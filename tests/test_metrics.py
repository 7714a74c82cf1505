"""Metrics: names that are built in, with a goal, and of users, who bring their own."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.errors import UsageError
from pytest_dlperf.metrics import (
    ANSWER_METRICS,
    LOAD_METRICS,
    METRICS,
    RATE_METRICS,
    TRAIN_METRICS,
    Better,
    define,
    definitions_of,
    find_metric,
    in_order,
    measured_by,
    metric_named,
    read_definitions,
    users_metric,
)
from pytest_dlperf.units import Dimension


def test_metrics_of_training() -> None:
    """Their units and directions; and no load measures them."""
    metrics = {
        name: (metric.unit, metric.better) for name, metric in METRICS.items() if metric.of_training
    }

    assert metrics == {
        "train.time": ("s", "lower"),
        "train.throughput": ("1/s", "higher"),
        "train.peak_memory": ("bytes", "lower"),
    }
    assert metrics.keys() < TRAIN_METRICS
    assert ANSWER_METRICS < TRAIN_METRICS
    assert not metrics.keys() & (LOAD_METRICS | RATE_METRICS)
    assert {"throughput", "p99", "accuracy", "compile_time"} < LOAD_METRICS


@pytest.mark.parametrize(
    ("name", "canonical", "goal"),
    [
        ("train.time_to_accuracy(95%)", "train.time_to_accuracy(95%)", 0.95),
        ("train.time_to_accuracy(0.95)", "train.time_to_accuracy(95%)", 0.95),
        ("train.time_to_accuracy ( 99.5 % )", "train.time_to_accuracy(99.5%)", 0.995),
        ("train.time_to_accuracy(1)", "train.time_to_accuracy(100%)", 1.0),
        ("train.time_to_accuracy(57%)", "train.time_to_accuracy(57%)", 0.57),
    ],
)
def test_a_goal_has_one_name(name: str, canonical: str, goal: float) -> None:
    """However it is written, budgets, files and reports say the same."""
    metric = metric_named(name)

    assert (metric.name, metric.goal) == (canonical, pytest.approx(goal))
    assert metric_named(canonical) == metric
    assert measured_by(TRAIN_METRICS, metric)
    assert not measured_by(LOAD_METRICS, metric)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("throughputt", "did you mean throughput?"),
        ("train.time_to_accuracy", r"say which: train.time_to_accuracy\(95%\)"),
        ("train.time_to_accuracy(0)", "metrics: throughput"),
        ("train.time_to_accuracy(95)", "metrics: throughput"),
        ("train.time_to_accuracy(95%", "metrics: throughput"),
        ("p99(95%)", "metrics: throughput"),
        ("", "define your own"),
    ],
)
def test_what_is_no_metric(name: str, hint: str) -> None:
    """An unknown name is refused with the known ones."""
    assert find_metric(name) is None
    with pytest.raises(UsageError, match="unknown metric") as raised:
        metric_named(name)
    with pytest.raises(UsageError, match=hint):
        raise raised.value


@pytest.mark.usefixtures("own_metrics")
def test_the_order_of_the_table() -> None:
    """Built in as the table has them, then goals, then users', whatever order they come in."""
    define(users_metric("aaa", "1", "lower", 0.1))
    names = ["aaa", "train.time_to_accuracy(95%)", "loss", "train.time_to_accuracy(9%)", "loss"]
    wanted = ("loss", "train.time_to_accuracy(9%)", "train.time_to_accuracy(95%)", "aaa")

    assert in_order(names) == in_order(reversed(names)) == wanted


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": "accuracy"}, "'accuracy': this name is taken"),
        ({"name": "p99_9"}, "'p99_9': this name is taken"),
        ({"name": "train_time"}, "'train_time': this name is taken"),
        ({"name": "baseline"}, "'baseline': this name is taken"),
        ({"name": "a b"}, "'a b': that is no name of a metric"),
        ({"name": "1st"}, "no name of a metric"),
        ({"name": "a.b"}, "no name of a metric"),
        ({"name": "x" * 41}, "no name of a metric"),
        ({"name": "<lambda>"}, "no name of a metric"),
        ({"name": ""}, "no name of a metric"),
        ({"unit": "ms"}, r"unit='ms'\s+expected one of 's', '1/s'"),
        ({"better": "more"}, "better='more'"),
        ({"detect": 0}, "detect=0"),
        ({"detect": 1.0}, "detect=1.0"),
        ({"detect": True}, "detect=True"),
        ({"detect": "1%"}, "detect='1%'"),
        ({"detect": float("nan")}, "detect=nan"),
    ],
)
def test_what_no_metric_can_be(change: dict[str, object], problem: str) -> None:
    """Each mistake is named with what was given."""
    given = {"name": "ndcg", "unit": "share", "better": "higher", "detect": 0.01, **change}
    with pytest.raises(UsageError, match=problem):
        users_metric(**given)  # type: ignore[arg-type]  # the mistake


@pytest.mark.usefixtures("own_metrics")
def test_defined_twice() -> None:
    """The same again is fine, as where a module is imported twice; something else is not."""
    define(users_metric("mrr", "share", "higher", 0.01))
    define(users_metric("mrr", "share", "higher", 0.01))
    with pytest.raises(UsageError, match=r"'mrr' is defined twice: .*detect=0.01.*detect=0.02"):
        define(users_metric("mrr", "share", "higher", 0.02))
    assert metric_named("mrr").detect == 0.01


@given(
    st.dictionaries(
        st.from_regex(r"own[a-z0-9_]{1,9}", fullmatch=True),
        st.tuples(
            st.sampled_from(Dimension.__args__),  # type: ignore[attr-defined]  # an alias
            st.sampled_from(Better.__args__),  # type: ignore[attr-defined]
            st.floats(0.001, 0.999),
        ),
        max_size=3,
    )
)
def test_definitions_travel(metrics: dict[str, tuple[Dimension, Better, float]]) -> None:
    """What a file says of users' metrics makes them known where they are not defined."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_dlperf.metrics._defined", {})
        patch.setattr("pytest_dlperf.metrics._read", {})
        made = {name: users_metric(name, *fields) for name, fields in metrics.items()}
        for metric in made.values():
            define(metric)
        text = json.dumps(definitions_of([*metrics, "throughput", "train.time_to_accuracy(95%)"]))
        patch.setattr("pytest_dlperf.metrics._defined", {})
        assert not any(map(find_metric, metrics))

        assert read_definitions(json.loads(text)) == frozenset()

        assert {name: metric_named(name) for name in metrics} == made


@pytest.mark.usefixtures("own_metrics")
def test_a_definition_that_has_changed() -> None:
    """What is defined here holds; what a file means by the name is another metric."""
    stored = {"mrr": {"unit": "share", "better": "higher", "detect": 0.05}}
    define(users_metric("mrr", "share", "higher", 0.01))
    assert read_definitions(stored) == frozenset()
    assert metric_named("mrr").detect == 0.01
    for change in ({"unit": "1"}, {"better": "lower"}):
        assert read_definitions({"mrr": {**stored["mrr"], **change}}) == {"mrr"}


@pytest.mark.parametrize(
    "stored",
    [
        {"mrr": {}},
        {"mrr": {"unit": "ms", "better": "higher", "detect": 0.1}},
        {"p99": {"unit": "s", "better": "lower", "detect": 0.1}},
        {"mrr": 3},
        {"mrr": {"unit": "1", "better": "lower", "detect": None}},
    ],
)
@pytest.mark.usefixtures("own_metrics")
def test_damaged_definitions(stored: dict[str, object]) -> None:
    """Nothing is learned from what cannot be read, as of any damaged file."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        read_definitions(stored)  # type: ignore[arg-type]  # damaged
    assert find_metric("mrr") is None
