"""Measurement: metrics with intervals, and the identity of what was measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_dlperf.metrics import find_metric
from pytest_dlperf.results.series import NO_SERIES, Series

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_dlperf.results.row_evidence import Rows, RowScores
    from pytest_dlperf.results.usage import Consumption, GpuUse
    from pytest_dlperf.statistics.estimate import Estimate


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """One kind of error among the requests of a load.

    Attributes:
        kind: what it is, such as `ValueError` or `not finite`.
        requests: how many requests ended so.
        example: one of them, for people.
    """

    kind: str
    requests: int
    example: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one load found out about one target.

    `m["p99"]` is an `Estimate` (`.value`, `.low`, `.high`), `m.p99` its value, in the metric's
    base unit: seconds, requests a second, shares of one, bytes.

    Attributes:
        test: pytest's node id of the test.
        name: tells several measurements of one test apart; empty if there is one.
        target: what was measured, in words.
        scenario: the traffic, as text.
        serving: batching and replicas, as text.
        seconds: how long the load lasted.
        requests: how many requests were answered or went wrong.
        metrics: what was measured.
        refused: metrics that could not be measured, with the reason.
        missed: metrics of a goal that was never reached, with what came nearest: budgets on them
            are broken.
        errors: kinds of errors, the most frequent first.
        rows: the evidence for accuracy, if the data has labels.
        scores: the evidence for users' metrics, if any is measured.
        invalid: why the speeds of this run say nothing, if so.
        hung: what was said of a call that never returned and so ended the load; empty if all did.
        notes: what a reader should know.
        diagnosis: where the time of a request went, in words.
        intervals: where the intervals of the percentiles, or of a training's figures, come from,
            in words; empty without either.
        slo: seconds within which an answer counted towards goodput; None if none was asked for.
        batch_sizes: calls by the number of requests that they carried; where there were more
            than 32 sizes, the keys are powers of two, each for the sizes above the one before.
        utilisation: the share of the load that each replica spent in the target.
        series: how the load went over time.
        usage: what the run took of the machine; None if nobody looked.
        gpus: what the GPUs that it used did.
        seeds: the accuracy from each seed, of trainings from several; seed by seed they are
            compared with others.
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
        raise KeyError(f"{metric}: {reason}; measured: {', '.join(self.metrics)}")

    def __getattr__(self, metric: str) -> float:
        if metric.startswith("__"):
            raise AttributeError(metric)
        try:
            return self[metric].value
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    @property
    def of_training(self) -> bool:
        """Whether it is of trainings: their steps are its requests."""
        return "train.peak_memory" in self.metrics

    @property
    def title(self) -> str:
        """The test's node id, with the measurement's name if it has one."""
        return f"{self.test} [{self.name}]" if self.name else self.test


def title_of(test: str, name: str) -> str:
    """A test's node id, with the measurement's name if it has one."""
    return f"{test} [{name}]" if name else test
