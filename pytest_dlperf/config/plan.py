"""The plan of a test: what to measure, and its budgets; made at collection."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf._values import device_names
from pytest_dlperf.config.budgets import Budget, parse_budget
from pytest_dlperf.config.detect import resolve_detect, with_detect
from pytest_dlperf.config.options import DEFAULTS, Clients, Options, Task, overlay
from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.scenarios import (
    ClosedLoop,
    MultiStream,
    Offline,
    OpenLoop,
    Scenario,
    SingleStream,
)
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.metrics import measured_by

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_dlperf.config.detect import Detect
    from pytest_dlperf.load.answer_layout import Output
    from pytest_dlperf.results.verdict import Leniency

ANY_ERROR = parse_budget("errors == 0")
"""The budget of every measurement that has none on errors."""

# Real clients, unless the scenario or the serving gives a number.
_MOST_THREADS: Final = 64
_MOST_COROUTINES: Final = 4096
_FIRST_CALLS: Final = 10  # times as long as a later call, since they compile
_QUICK_SECONDS: Final = 0.3


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings and budgets of one measurement.

    Attributes:
        budgets: for each metric those of the nearest level.
        run_wide: metrics whose budgets were given for all tests, not for this one.
        scenario: the traffic.
        serving: batching and replicas.
        clients: rows of an array, or real threads or coroutines with one request each.
        devices: of the replicas, unless the serving names devices; empty leaves it to the target.
        task: what labels and answers are for; None infers it from both.
        output: which output is scored, or the function that computes it; None if there is one.
        allow_nan: whether inputs may have values that are not finite.
        duration: seconds of measuring.
        slo: seconds within which an answer counts towards goodput; None measures no goodput.
        call_timeout: seconds after which a call of the target is given up.
        missing: consequence of a relative budget without a baseline.
        inconclusive: consequence of a budget that noise leaves open.
        base_broken: consequence of a base that could not be measured.
        quick: whether this is a smoke run.
        detect: losses to detect that differ from the metrics' own; the metrics of `budgets`
            have them already.
        budget_time: longest time in seconds that a duel measures.
        tries_padding: whether batches may be padded if a trial finds that faster. False in a
            duel, whose two sides could decide differently and so differ by more than their code.
    """

    budgets: tuple[Budget, ...]
    run_wide: frozenset[str]
    scenario: Scenario
    serving: Serving
    clients: Clients
    devices: tuple[str, ...]
    task: Task | None
    output: Output | None
    allow_nan: bool
    duration: float
    slo: float | None
    call_timeout: float
    missing: Leniency
    inconclusive: Leniency
    base_broken: Leniency
    quick: bool
    detect: tuple[Detect, ...]
    budget_time: float
    tries_padding: bool = True

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        if self.devices and self.serving.devices is None:
            placed = dataclasses.replace(self.serving, devices=self.devices)
            object.__setattr__(self, "serving", placed)
        if self.serving.batch_timeout >= self.duration:
            raise UsageError(
                f"Serving(batch_timeout={self.serving.batch_timeout:g}) is no shorter than "
                f"duration={self.duration:g}",
                "a batch that does not fill would never be sent",
            )
        if self.clients != "virtual":
            self._check_real_clients()
        if self.serving.queue_limit is not None and not self.open_loop:
            raise UsageError(
                f"Serving(queue_limit) needs requests that come by themselves, not {self.scenario}",
                "in a closed loop no more requests wait than there are clients",
            )
        for budget in self.budgets:
            if budget.metric.name == "goodput" and self.slo is None:
                raise UsageError(
                    f"budget {budget.text!r}: goodput counts the answers within a latency",
                    "say which: slo='20ms'",
                )
            needs_latency = budget.metric.latency or budget.metric.name == "goodput"
            if needs_latency and isinstance(self.scenario, Offline):
                raise UsageError(
                    f"budget {budget.text!r} needs a latency, and Offline() measures none",
                    "choose another scenario, or a budget on throughput",
                )

    def _check_real_clients(self) -> None:
        __tracebackhide__ = True
        serving, default = self.serving, Serving()
        together = f"{serving} with clients={self.clients!r}"
        if serving.max_batch_size not in {1, default.max_batch_size} or serving.batch_timeout:
            raise UsageError(
                together, "real clients send one request at a time, so nothing is batched"
            )
        if serving.allowed_batch_sizes not in {None, (1,)}:
            raise UsageError(together, "real clients send one request at a time: nothing is padded")
        if serving.intra_op_threads is not None:
            raise UsageError(
                together, "a replica in a process of its own answers one call at a time"
            )
        if serving.replicas > 1 and isinstance(
            self.scenario, ClosedLoop | SingleStream | MultiStream
        ):
            raise UsageError(together, f"{self.scenario} says how many clients there are")

    @property
    def compile_timeout(self) -> float:
        """Seconds after which a first call, or a trial of several, is given up."""
        return _FIRST_CALLS * self.call_timeout

    @property
    def judged(self) -> tuple[Budget, ...]:
        """The budgets to judge: all, or in a smoke run the absolute ones on answers and errors."""
        budgets = tuple(
            budget
            for budget in self.budgets
            if not self.quick
            or (
                not budget.relative and (budget.metric.of_answers or budget.metric.name == "errors")
            )
        )
        has_errors = any(budget.metric.name == "errors" for budget in budgets)
        return budgets if has_errors else (*budgets, ANY_ERROR)

    @property
    def served(self) -> Serving:
        """The effective serving.

        Real clients send one request at a time. The scenario gives their number; in open loops
        and offline `Serving(replicas=)` does. Without it there are 64, or in an open loop as many
        coroutines as the load needs, at most 4,096.
        """
        if self.clients == "virtual":
            return self.serving
        match self.scenario:
            case ClosedLoop(clients):
                count = clients
            case SingleStream():
                count = 1
            case MultiStream(samples):
                count = samples
            case _ if self.serving.replicas > 1:
                count = self.serving.replicas
            case _:
                coroutines = self.clients == "async" and self.open_loop
                count = _MOST_COROUTINES if coroutines else _MOST_THREADS
        return dataclasses.replace(self.serving, max_batch_size=1, replicas=count)

    @property
    def lanes(self) -> int:
        """Calls that can be in flight at the same time.

        Replicas are per device, so devices must be known by now; real clients are not.
        """
        return self.served.everywhere if self.clients == "virtual" else self.served.replicas

    @property
    def has_latencies(self) -> bool:
        """Whether latencies have a meaning in the scenario."""
        return not isinstance(self.scenario, Offline)

    @property
    def open_loop(self) -> bool:
        """Whether requests arrive independently of answers."""
        return isinstance(self.scenario, OpenLoop)

    @property
    def load_seconds(self) -> float:
        """Seconds of a load: the duration, or in a smoke run an instant."""
        return _QUICK_SECONDS if self.quick else self.duration

    @property
    def serving_text(self) -> str:
        """The effective serving, with the kind of clients if they are real."""
        if self.clients == "virtual":
            return str(self.serving)
        return f"{self.served}, clients={self.clients}"

    def on(self, devices: tuple[str, ...]) -> Plan:
        """The plan of one of the tests that `--dlperf-devices` makes, one per device.

        Raises:
            UsageError: for a name that is no device.
        """
        return dataclasses.replace(self, devices=device_names(devices, "dlperf_devices"))

    def override(self, call: Options) -> Plan:
        """The plan with the arguments of a call, which win over the marker's.

        Raises:
            UsageError: if the call names devices other than the test's.
        """
        __tracebackhide__ = True
        given = {
            name: value
            for name in (
                *("scenario", "serving", "clients", "task", "output", "allow_nan", "duration"),
            )
            if (value := getattr(call, name)) is not None
        }
        devices = call.serving.devices if call.serving else None
        if self.devices and devices not in {None, self.devices}:
            raise UsageError(
                f"{call.serving} in a test that is for {', '.join(self.devices)}",
                "name devices in the marker's serving=, then it is one test",
            )
        return dataclasses.replace(self, **given)

    def limited_to(self, metrics: Collection[str], call: str, hint: str) -> Plan:
        """The plan with only the budgets on metrics that a call measures.

        `hint` says what to do with other budgets.

        Raises:
            UsageError: naming the first budget of the test itself that would be dropped; budgets
                for all tests apply where they can.
        """
        __tracebackhide__ = True
        for budget in self.budgets:
            name = budget.metric.name
            if not measured_by(metrics, budget.metric) and name not in self.run_wide:
                problem = f"{call} does not measure {name}"
                if budget.metric.of_training:
                    hint = "measure it with dlperf.train(...)"
                raise UsageError(f"budget {budget.text!r}: {problem}", hint)
        kept = tuple(budget for budget in self.budgets if measured_by(metrics, budget.metric))
        return dataclasses.replace(self, budgets=kept)

    def only_errors(self) -> Plan:
        """The plan with only its absolute budgets on errors."""
        kept = (b for b in self.budgets if b.metric.name == "errors" and not b.relative)
        return dataclasses.replace(self, budgets=tuple(kept))


def plan(layers: Sequence[Options], *, run_wide: Collection[int] = ()) -> Plan:
    """The plan from all layers of options, nearest first.

    `run_wide` are the indices of the layers for all tests.

    Raises:
        BudgetSyntaxError: for a budget that cannot be read.
        UsageError: for a budget on a metric that the scenario does not measure.
    """
    options = overlay((*layers, DEFAULTS))
    given = {"budgets", "detect", "devices", "run_wide", "tries_padding"}
    detect = resolve_detect(options.detect or ())
    chosen = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(Plan)
        if field.name not in given
    }
    nearest = _nearest(layers)
    general = frozenset(name for name, (place, _) in nearest.items() if place in run_wide)
    budgets = tuple(
        with_detect(budget, detect) for _, budgets in nearest.values() for budget in budgets
    )
    return Plan(budgets=budgets, run_wide=general, devices=(), detect=detect, **chosen)


def _nearest(layers: Sequence[Options]) -> dict[str, tuple[int, list[Budget]]]:
    """For each metric the index of the nearest layer with budgets on it, and those budgets."""
    chosen: dict[str, tuple[int, list[Budget]]] = {}
    for place, layer in enumerate(layers):
        here: dict[str, tuple[int, list[Budget]]] = {}
        for text in layer.budgets or ():
            budget = parse_budget(text)
            here.setdefault(budget.metric.name, (place, []))[1].append(budget)
        chosen = {**here, **chosen}
    return chosen
