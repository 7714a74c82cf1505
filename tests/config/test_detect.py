"""Detect: the loss that a relative budget must find."""

from __future__ import annotations

import pytest

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.config.detect import Detect, parse_detect, resolve_detect, with_detect
from pytest_dlperf.errors import UsageError
from pytest_dlperf.metrics import define, users_metric


def test_losses_by_metric() -> None:
    """Percent for speeds, points for shares; both are hundredths."""
    detect = parse_detect(" throughput 3%, accuracy 0.5 pt,p99.9 12.5 %", "dlperf_detect")

    assert detect == (
        Detect("throughput", pytest.approx(0.03)),
        Detect("accuracy", pytest.approx(0.005)),
        Detect("p99.9", pytest.approx(0.125)),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is no metric with a loss"),
        ("throughput", "'throughput' is no metric with a loss"),
        ("3% throughput", "'3% throughput' is no metric with a loss"),
        ("throughput -3%", "'throughput -3%' is no metric with a loss"),
        ("throughput 3%,", "'' is no metric with a loss"),
        ("throughput 3pt", "a loss of throughput is given in %"),
        ("accuracy 1%", "a loss of accuracy is given in pt"),
        ("throughput 0%", "a loss lies between 0 and 100"),
        ("throughput 100%", "a loss lies between 0 and 100"),
        (3, "dlperf_detect=3 is no text"),
    ],
)
def test_mistakes(text: object, problem: str) -> None:
    """Each says where it is written, what is wrong, and what is right."""
    with pytest.raises(UsageError, match="dlperf_detect") as raised:
        parse_detect(text, "dlperf_detect")

    assert problem in str(raised.value)


def test_sharpened() -> None:
    """The budget's metric gets the loss that was given for it, and is else as it was."""
    budget = parse_budget("throughput >= 0.95 * baseline")
    losses = parse_detect("p99 5%, throughput 2%", "dlperf_detect")

    sharp = with_detect(budget, losses)

    assert sharp.metric.detect == pytest.approx(0.02)
    assert (sharp.text, sharp.factor, sharp.metric.name) == (budget.text, 0.95, "throughput")
    assert with_detect(budget, losses[:1]) == budget


def test_a_goal() -> None:
    """Metrics with a goal are written with it, in any way."""
    (detect,) = parse_detect("train.time_to_accuracy(0.95) 10%", "detect")
    assert (detect.metric, detect.loss) == ("train.time_to_accuracy(95%)", pytest.approx(0.1))


@pytest.mark.usefixtures("own_metrics")
def test_options_are_read_before_metrics_are_defined() -> None:
    """What is not known yet is settled later, when its unit is."""
    read = parse_detect("ndcg 0.5pt, throughput 3%", "dlperf_detect")
    wrong = parse_detect("ndcg 3%", "dlperf_detect")
    define(users_metric("ndcg", "share", "higher", 0.01))

    detect = resolve_detect(read)

    assert detect == (Detect("ndcg", pytest.approx(0.005)), Detect("throughput", 0.03))
    assert detect == resolve_detect(detect)
    assert with_detect(parse_budget("ndcg >= baseline"), detect).metric.detect == 0.005
    with pytest.raises(UsageError, match=r"dlperf_detect.*'ndcg 3%'.*[\s\S]*given in pt"):
        resolve_detect(wrong)


def test_what_is_no_metric_by_then() -> None:
    """A misspelt name is found when the tests are collected."""
    read = parse_detect("troughput 3%", "dlperf_detect")
    with pytest.raises(UsageError, match="dlperf_detect: unknown metric 'troughput'") as raised:
        resolve_detect(read)
    assert "did you mean throughput" in str(raised.value)
