"""Plan: what is measured and asked, settled from the layers of options."""

from __future__ import annotations

import pytest

from pytest_dlperf.config.detect import parse_detect
from pytest_dlperf.config.options import DEFAULTS, Options
from pytest_dlperf.config.plan import Plan, plan
from pytest_dlperf.errors import BudgetSyntaxError, UsageError
from pytest_dlperf.load.scenarios import (
    ClosedLoop,
    MultiStream,
    Offline,
    Scenario,
    Server,
    SingleStream,
)
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.metrics import (
    LOAD_METRICS,
    METRICS,
    RATE_METRICS,
    TRAIN_METRICS,
    define,
    users_metric,
)

LATENCIES = [name for name, metric in METRICS.items() if metric.latency]


def _budgets(made: Plan) -> set[str]:
    return {budget.text for budget in made.budgets}


def _judged(made: Plan) -> set[str]:
    return {budget.text for budget in made.judged}


def test_defaults() -> None:
    """Without options a plan has the defaults and no budgets."""
    made = plan([])
    assert made.budgets == ()
    assert (made.scenario, made.serving) == (DEFAULTS.scenario, DEFAULTS.serving)
    assert (made.duration, made.missing, made.inconclusive) == (5.0, "pass", "warn")
    assert made.quick is False


def test_nearest_layer_wins() -> None:
    """Each setting comes from the nearest layer that gives it."""
    near, far = Options(duration=1.0), Options(duration=2.0, scenario=Server(rate=5), quick=True)
    made = plan([near, far])
    assert (made.duration, made.scenario, made.quick) == (1.0, Server(rate=5), True)


def test_budgets_of_layers_are_joined() -> None:
    """A farther layer's budgets hold unless a nearer one has one on the same metric."""
    made = plan(
        [
            Options(budgets=("p99 <= 1ms",)),
            Options(budgets=("p99 <= 2ms", "throughput >= 5/s")),
            Options(budgets=("throughput >= 4/s", "accuracy >= 90%")),
        ]
    )
    assert _budgets(made) == {"p99 <= 1ms", "throughput >= 5/s", "accuracy >= 90%"}


def test_two_budgets_on_one_metric_in_one_layer() -> None:
    """A layer may hold a metric to two budgets; a nearer layer replaces both."""
    layer = Options(budgets=("accuracy >= 90%", "accuracy >= baseline - 1pt"))
    assert _budgets(plan([Options(), layer])) == set(layer.budgets or ())
    assert _budgets(plan([Options(budgets=("accuracy >= 80%",)), layer])) == {"accuracy >= 80%"}


def test_bad_budget_in_any_layer() -> None:
    """A budget that cannot be read is refused, also where a nearer layer would hide it."""
    with pytest.raises(BudgetSyntaxError):
        plan([Options(budgets=("p99 <= 1ms",)), Options(budgets=("p99 <= 1",))])


@pytest.mark.parametrize("name", LATENCIES)
def test_offline_has_no_latency(name: str) -> None:
    """A latency budget on Offline() is refused, whether at collection or in the call."""
    budgets = (f"{name} <= 1s",)
    with pytest.raises(UsageError, match="Offline"):
        plan([Options(budgets=budgets, scenario=Offline())])
    with pytest.raises(UsageError, match="Offline"):
        plan([Options(budgets=budgets)]).override(Options(scenario=Offline()))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (Options(budgets=("goodput >= 5/s",)), "say which: slo="),
        (
            Options(scenario=ClosedLoop(8), serving=Serving(queue_limit=4)),
            "needs requests that come by themselves",
        ),
    ],
)
def test_settings_that_contradict_each_other(options: Options, problem: str) -> None:
    """Goodput needs a limit, and in a closed loop no more requests wait than there are clients."""
    with pytest.raises(UsageError, match=problem):
        plan([options])


def test_offline_with_other_budgets() -> None:
    """Offline() takes budgets on what it measures."""
    made = plan([Options(budgets=("throughput >= 5/s", "accuracy >= 9%"), scenario=Offline())])
    assert made.scenario == Offline()


def test_errors_are_always_judged() -> None:
    """Without a budget on errors there may be none; with one, that one alone holds."""
    assert _judged(plan([])) == {"errors == 0"}
    made = plan([Options(budgets=("errors <= 1%", "p99 <= 1s"))])
    assert _judged(made) == {"errors <= 1%", "p99 <= 1s"}


def test_quick_judges_answers_only() -> None:
    """A smoke run judges errors and absolute budgets on answers, nothing of speed."""
    budgets = ("p99 <= 1ms", "accuracy >= 90%", "accuracy >= baseline", "loss <= 0.5")
    made = plan([Options(budgets=budgets, quick=True)])
    assert _judged(made) == {"accuracy >= 90%", "loss <= 0.5", "errors == 0"}


def test_quick_keeps_the_budget_on_errors() -> None:
    """A smoke run holds to the user's absolute budget on errors instead of to none at all."""
    assert _judged(plan([Options(budgets=("errors <= 5%",), quick=True)])) == {"errors <= 5%"}


def test_override() -> None:
    """The arguments of a call win over the marker's, and those not given stay."""
    made = plan([Options(budgets=("p99 <= 1s",), duration=2.0)])
    other = made.override(Options(scenario=ClosedLoop(clients=2), serving=Serving(replicas=2)))
    assert (other.scenario, other.serving) == (ClosedLoop(clients=2), Serving(replicas=2))
    assert (other.duration, other.budgets) == (2.0, made.budgets)
    assert made.override(Options(duration=3.0)).duration == 3.0
    assert made.override(Options()) == made


@pytest.mark.parametrize(
    ("scenario", "serving", "clients"),
    [
        (ClosedLoop(7), Serving(), 7),
        (SingleStream(), Serving(), 1),
        (MultiStream(3), Serving(), 3),
        (Server(100), Serving(), 64),
        (Server(100), Serving(1, replicas=5), 5),
        (Offline(), Serving(replicas=6), 6),
    ],
)
def test_real_clients(scenario: Scenario, serving: Serving, clients: int) -> None:
    """Each sends one request at a time, and there are as many as the scenario has."""
    made = plan([Options(scenario=scenario, serving=serving, clients="threads")])

    assert made.served == Serving(1, replicas=clients)
    assert made.serving_text == f"{made.served}, clients=threads"
    assert plan([Options(scenario=scenario, serving=serving)]).served == serving


@pytest.mark.parametrize(
    ("scenario", "serving", "problem"),
    [
        (ClosedLoop(7), Serving(max_batch_size=8), "nothing is batched"),
        (ClosedLoop(7), Serving(batch_timeout=0.001), "nothing is batched"),
        (ClosedLoop(7), Serving(replicas=2), "says how many clients"),
        (ClosedLoop(7), Serving(allowed_batch_sizes=(8, 64)), "nothing is padded"),
        (ClosedLoop(7), Serving(intra_op_threads=1), "answers one call at a time"),
    ],
)
def test_serving_that_real_clients_do_not_have(
    scenario: Scenario, serving: Serving, problem: str
) -> None:
    """Settings without effect are refused."""
    with pytest.raises(UsageError, match=problem):
        plan([Options(scenario=scenario, serving=serving, clients="async")])


def test_the_devices_of_a_test() -> None:
    """They hold for every serving that names none; a call that names others is refused."""
    made = plan([Options(devices=("all",))])
    assert made.serving == Serving()

    there = made.on(("cpu:1",))
    assert there.serving == Serving(devices="cpu:1")
    assert there.override(Options(serving=Serving(8))).serving == Serving(8, devices="cpu:1")
    assert there.override(Options(serving=Serving(devices="cpu:1"))).serving == there.serving
    with pytest.raises(UsageError, match=r"in a test that is for cpu:1"):
        there.override(Options(serving=Serving(devices="cpu:0")))
    assert made.on(()) == made


def test_a_call_does_not_take_over_the_devices_of_a_markers_serving() -> None:
    """A call's serving wins as a whole."""
    made = plan([Options(serving=Serving(devices="cpu:1"))])

    assert made.override(Options(serving=Serving(8))).serving == Serving(8)


def test_budgets_that_a_call_does_not_measure() -> None:
    """A budget is judged or refused, never dropped; the refusal names the call."""
    held = plan([Options(budgets=("errors <= 1%", "max_rate >= 5/s"))])

    assert held.limited_to(RATE_METRICS, "dlperf.max_rate(...)", "hint") == held
    with pytest.raises(UsageError, match=r"'max_rate >= 5/s': dlperf\(...\) does not measure"):
        held.limited_to(LOAD_METRICS, "dlperf(...)", "hint")


def test_budgets_for_all_tests_hold_where_they_can() -> None:
    """One from the ini file is dropped by a call that does not measure it; a marker's is not."""
    marker, ini = Options(budgets=("max_rate >= 5/s",)), Options(budgets=("p50 <= 1s",))
    held = plan([Options(), marker, ini], run_wide={0, 2})

    kept = held.limited_to(RATE_METRICS, "dlperf.max_rate(...)", "hint")
    assert _budgets(kept) == {"max_rate >= 5/s"}
    with pytest.raises(UsageError, match="max_rate"):
        held.limited_to(LOAD_METRICS, "dlperf(...)", "hint")
    nearer = plan([Options(), Options(budgets=("p50 <= 2s",)), ini], run_wide={0, 2})
    with pytest.raises(UsageError, match="p50 <= 2s"):
        nearer.limited_to(RATE_METRICS, "dlperf.max_rate(...)", "hint")


def test_only_absolute_budgets_on_errors() -> None:
    """`only_errors` keeps absolute budgets on errors, or the default one."""
    texts = ("errors <= 1%", "errors <= baseline", "p99 <= 1s")

    assert [b.text for b in plan([Options(budgets=texts)]).only_errors().judged] == ["errors <= 1%"]
    assert [b.text for b in plan([Options(budgets=texts[1:])]).only_errors().judged] == [
        "errors == 0"
    ]


@pytest.mark.usefixtures("own_metrics")
def test_what_each_call_measures() -> None:
    """Users' metrics are measured by all, training by its own call, goals by their family."""
    define(users_metric("ndcg", "share", "higher", 0.01))
    budgets = ("ndcg >= 1%", "train.time_to_accuracy(95%) <= 30s", "accuracy >= 9%")
    planned = plan([Options(budgets=budgets)])

    assert len(planned.limited_to(TRAIN_METRICS, "dlperf.train(...)", "").budgets) == 3
    with pytest.raises(UsageError, match=r"dlperf\(...\) does not measure train.time_to") as raised:
        planned.limited_to(LOAD_METRICS, "dlperf(...)", "other")
    assert "measure it with dlperf.train(...)" in str(raised.value)


@pytest.mark.usefixtures("own_metrics")
def test_quick_judges_users_metrics() -> None:
    """A smoke run judges users' metrics, which are of answers, but no training."""
    define(users_metric("ndcg", "share", "higher", 0.01))
    budgets = ("ndcg >= 1%", "ndcg >= baseline", "train.time <= 30s")
    judged = plan([Options(budgets=budgets, quick=True)]).judged
    assert [budget.text for budget in judged] == ["ndcg >= 1%", "errors == 0"]


@pytest.mark.usefixtures("own_metrics")
def test_detect_of_a_users_metric() -> None:
    """`detect` of the ini file holds for a metric that is defined later."""
    detect = parse_detect("ndcg 0.2pt", "dlperf_detect")
    define(users_metric("ndcg", "share", "higher", 0.01))
    made = plan([Options(budgets=("ndcg >= baseline",)), Options(detect=detect)])
    assert made.budgets[0].metric.detect == pytest.approx(0.002)
    assert not made.detect[0].unread
