"""Values of options: the URL of a history, the source of baselines, and losses to detect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.config.baseline_source import FILES, BaselineSource, parse_baseline_source
from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.config.detect import Detect, parse_detect, resolve_detect, with_detect
from pytest_dlperf.config.options import DEFAULTS, Options, from_texts
from pytest_dlperf.errors import UsageError
from pytest_dlperf.metrics import define, users_metric


@pytest.mark.parametrize(
    "url",
    [
        "none",
        "sqlite:///history.sqlite",
        "sqlite:////var/lib/history.sqlite",
        "postgresql://u:p@host/db",
        "postgresql+psycopg://host/db",
    ],
)
def test_urls_are_taken_as_they_are(url: str) -> None:
    """Any URL is accepted; whether its database exists is not checked here."""
    assert from_texts({"history": url}).history == url


@pytest.mark.parametrize("text", ["geheim", "history.sqlite", "/geheim.db", "u:geheim@h/d", "://x"])
def test_what_is_no_url_is_not_shown(text: str) -> None:
    """A wrong value is not shown, as it may contain a password."""
    with pytest.raises(UsageError, match="that is no URL of a database") as caught:
        from_texts({"history": text})

    assert str(caught.value).startswith("--dlperf-history: ")
    assert "geheim" not in str(caught.value)
    assert "postgresql://USER@HOST/DATABASE" in caught.value.hint


def test_the_url_is_not_in_the_representation() -> None:
    """The URL is not in the representation, which tracebacks print."""
    options = from_texts({"history": "postgresql://u:geheim@h/d"})

    assert "geheim" not in repr(options)
    assert options != Options()


def test_files_are_the_default() -> None:
    """By default baselines are files."""
    assert str(DEFAULTS.baseline) == "files"
    assert DEFAULTS.history is None


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("files", FILES),
        ("history:main", BaselineSource(in_history=True, branch="main")),
        ("history:feature/x-1", BaselineSource(in_history=True, branch="feature/x-1")),
        ("history:a:b", BaselineSource(in_history=True, branch="a:b")),
        ("history:merge-base", BaselineSource(in_history=True)),
    ],
)
def test_sources_of_baselines(text: str, source: BaselineSource) -> None:
    """There are three forms, and each is written as it is read."""
    assert parse_baseline_source(text, "--dlperf-baseline") == source
    assert str(source) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "file",
        "Files",
        "files:main",
        "history",
        "history:",
        "history: main",
        "history:-x",
        "history:a b",
        "main",
        "history:a\n",
    ],
)
def test_what_is_no_source(text: str) -> None:
    """The error names the valid forms."""
    with pytest.raises(UsageError) as caught:
        parse_baseline_source(text, "--dlperf-baseline")
    assert caught.value.problem == f"--dlperf-baseline={text!r}"
    assert "history:BRANCH" in caught.value.hint


@given(st.text("abc/-._:é", min_size=1).filter(lambda name: not name.startswith("-")))
def test_any_branch_that_git_allows(name: str) -> None:
    """A branch is whatever it is called; one called merge-base cannot be named."""
    source = parse_baseline_source(f"history:{name}", "")

    assert source == BaselineSource(in_history=True, branch="" if name == "merge-base" else name)
    assert str(source) == f"history:{name}"


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
def test_what_is_no_loss(text: object, problem: str) -> None:
    """The error names the option, the problem, and what was expected."""
    with pytest.raises(UsageError, match="dlperf_detect") as raised:
        parse_detect(text, "dlperf_detect")

    assert problem in str(raised.value)


def test_a_budget_with_its_loss() -> None:
    """The budget's metric gets the loss that was given for it, and is else as it was."""
    budget = parse_budget("throughput >= 0.95 * baseline")
    losses = parse_detect("p99 5%, throughput 2%", "dlperf_detect")

    sharp = with_detect(budget, losses)

    assert sharp.metric.detect == pytest.approx(0.02)
    assert (sharp.text, sharp.factor, sharp.metric.name) == (budget.text, 0.95, "throughput")
    assert with_detect(budget, losses[:1]) == budget


def test_a_loss_of_a_metric_with_a_goal() -> None:
    """Metrics with a goal are written with it, in any way."""
    (detect,) = parse_detect("train.time_to_accuracy(0.95) 10%", "detect")
    assert (detect.metric, detect.loss) == ("train.time_to_accuracy(95%)", pytest.approx(0.1))


@pytest.mark.usefixtures("own_metrics")
def test_options_are_read_before_metrics_are_defined() -> None:
    """A metric that is not known yet is resolved later, with its unit."""
    read = parse_detect("ndcg 0.5pt, throughput 3%", "dlperf_detect")
    wrong = parse_detect("ndcg 3%", "dlperf_detect")
    define(users_metric("ndcg", "share", "higher", 0.01))

    detect = resolve_detect(read)

    assert detect == (Detect("ndcg", pytest.approx(0.005)), Detect("throughput", 0.03))
    assert detect == resolve_detect(detect)
    assert with_detect(parse_budget("ndcg >= baseline"), detect).metric.detect == 0.005
    with pytest.raises(UsageError, match=r"dlperf_detect.*'ndcg 3%'.*[\s\S]*given in pt"):
        resolve_detect(wrong)


def test_a_loss_of_no_metric() -> None:
    """A misspelt name is an error at collection."""
    read = parse_detect("troughput 3%", "dlperf_detect")
    with pytest.raises(UsageError, match="dlperf_detect: unknown metric 'troughput'") as raised:
        resolve_detect(read)
    assert "did you mean throughput" in str(raised.value)
