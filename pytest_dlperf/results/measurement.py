"""Measurement: metrics with intervals, evidence for accuracy, and what was measured how."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_dlperf.metrics import find_metric, metric_named
from pytest_dlperf.results.series import NO_SERIES, Series
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_dlperf.results.row_evidence import Rows, RowScores
    from pytest_dlperf.results.usage import Consumption, GpuUse
    from pytest_dlperf.statistics.estimate import Estimate


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """One kind of error among the requests of a load.

    Attributes:
        kind: such as `ValueError` or `not finite`.
        requests: number of requests with this error.
        example: message of one of them.
    """

    kind: str
    requests: int
    example: str


@dataclass(frozen=True, slots=True)
class CallCounts:
    """What errors are counted in.

    Attributes:
        requests: all that were answered or failed.
        calls: of the target; the requests of one mostly fail together.
    """

    requests: int
    calls: int

    def __post_init__(self) -> None:
        if not 0 < self.calls <= self.requests:
            raise ValueError(f"{self.requests} requests in {self.calls} calls")


@dataclass(frozen=True, slots=True, repr=False)
class Measurement:
    """Results of one load on one target.

    `m["p99"]` is an `Estimate` (`.value`, `.low`, `.high`), `m.p99` its value, in the metric's
    base unit: seconds, requests a second, shares of one, bytes.

    Attributes:
        test: pytest's node id of the test.
        name: distinguishes several measurements of one test; empty for a single one.
        target: description of what was measured.
        scenario: the traffic, as text.
        serving: batching and replicas, as text.
        seconds: duration of the load.
        requests: number of requests that were answered or failed.
        metrics: estimates by the metric's name.
        refused: metrics that could not be measured, with the reason.
        unbounded: metrics whose upper bound the run was too short for, with what they need to have
            one; the interval then ends far away.
        at_least: of refused metrics, what they exceed for certain, such as a percentile that lies
            beyond all answers.
        missed: metrics with a goal that was never reached, with the nearest value: budgets on
            them are broken.
        errors: kinds of errors, the most frequent first.
        rows: the evidence for accuracy, if the data has labels.
        scores: the evidence for users' metrics, if any is measured.
        invalid: why the speeds of this run mean nothing; empty if they do.
        hung: message about a call that never returned and so ended the load; empty if all did.
        notes: for readers of the report.
        diagnosis: where the time of a request went, as text.
        intervals: how the intervals of percentiles, or of a training's metrics, were computed;
            empty without either.
        slo: seconds within which an answer counted towards goodput; None without a limit.
        batch_sizes: number of calls by the number of requests in them; with more than 32 sizes
            the keys are powers of two, each for the sizes above the previous one.
        utilisation: share of the load that each replica spent in the target.
        series: curves over time.
        usage: of the machine's resources; None if not measured.
        gpus: use of each GPU that the run computed on.
        seeds: accuracy from each seed, for trainings from several; compared seed by seed.
    """

    test: str
    name: str
    target: str
    scenario: str
    serving: str
    seconds: float
    requests: int
    metrics: Mapping[str, Estimate]
    refused: Mapping[str, str]
    errors: tuple[ErrorCount, ...]
    rows: Rows | None
    invalid: str
    notes: tuple[str, ...]
    diagnosis: str
    hung: str = ""
    intervals: str = ""
    slo: float | None = None
    batch_sizes: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    utilisation: tuple[float, ...] = ()
    series: Series = NO_SERIES
    usage: Consumption | None = None
    gpus: tuple[GpuUse, ...] = ()
    scores: RowScores | None = None
    missed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    seeds: tuple[float, ...] = ()
    unbounded: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    at_least: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def __getitem__(self, metric: str) -> Estimate:
        """The estimate of a metric.

        Raises:
            KeyError: if it was not measured, with the reason.
        """
        known = find_metric(metric)
        name = known.name if known is not None else metric
        if name in self.metrics:
            return self.metrics[name]
        reason = self.refused.get(name) or self.missed.get(name)
        if reason is None:
            reason = "not measured here" if known is not None else "there is no such metric"
        if known is not None and name in self.at_least:
            reason = f"more than {format_quantity(self.at_least[name], known.unit)}: {reason}"
        raise KeyError(f"{metric}: {reason}; measured: {', '.join(self.metrics)}")

    def __repr__(self) -> str:
        figures = [
            f"{name} {format_quantity(estimate.value, metric_named(name).unit)}"
            for name, estimate in self.metrics.items()
        ]
        return f"<Measurement {self.title}: {', '.join(figures)}>"

    def __contains__(self, metric: object) -> bool:
        """Whether a metric, by its name, was measured."""
        known = find_metric(metric) if isinstance(metric, str) else None
        return (known.name if known is not None else metric) in self.metrics

    def __getattr__(self, metric: str) -> float:
        if metric.startswith("__"):
            raise AttributeError(metric)
        try:
            return self[metric].value
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    @property
    def counts(self) -> CallCounts | None:
        """Its requests and calls; each request is a call where batches are not known."""
        calls = sum(self.batch_sizes.values()) or self.requests
        return CallCounts(self.requests, min(calls, self.requests)) if self.requests else None

    @property
    def of_training(self) -> bool:
        """Whether it is of trainings: their steps are its requests."""
        return "train.peak_memory" in self.metrics

    @property
    def title(self) -> str:
        """The test's node id, with the measurement's name if it has one."""
        return title_of(self.test, self.name)


def title_of(test: str, name: str) -> str:
    """A test's node id, with the measurement's name if it has one."""
    return f"{test} [{name}]" if name else test
