"""Exports: what other people's tools are told of a measurement, as plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.metrics import metric_named
from pytest_dlperf.results.codec import metrics_to_json, rounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.record import Record
    from pytest_dlperf.results.series import Series
    from pytest_dlperf.results.verdict import Leniency
    from pytest_dlperf.statistics.estimate import Estimate

SCHEMA: Final = 1
"""Version of what is put into `extra_info["dlperf"]`."""

_HALF_AN_ITEM: Final = 0.5  # rates are rounded, so that one answer may seem to be less

_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class BenchmarkMetadata:
    """What is known of a test only where it runs.

    Attributes:
        group: that the test has in pytest-benchmark's tables; None if in none.
        param: id of its parameters; None if it has none.
        params: its parameters by name, as plain values; None if it has none.
        extra_info: what the test itself gave pytest-benchmark, as plain values.
        benchmarked: whether the test used the fixture `benchmark` too, so that its node id is
            taken in pytest-benchmark's session.
        missing: what a relative budget without a baseline does to the test.
        inconclusive: what a budget that noise leaves open does to the test.
    """

    group: str | None = None
    param: str | None = None
    params: Mapping[str, object] | None = None
    extra_info: Mapping[str, object] = field(default_factory=lambda: _NOTHING)
    benchmarked: bool = False
    missing: Leniency = "pass"
    inconclusive: Leniency = "warn"

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "group": self.group,
            "param": self.param,
            "params": None if self.params is None else dict(self.params),
            "extra_info": dict(self.extra_info),
            "benchmarked": self.benchmarked,
            "missing": self.missing,
            "inconclusive": self.inconclusive,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> BenchmarkMetadata:
        """The inverse of `to_json`.

        Raises:
            TypeError: if the values are not of this shape.
        """
        return cls(**value)


@dataclass(frozen=True, slots=True)
class BenchmarkEntry:
    """A measurement as pytest-benchmark has it, whoever made it.

    Attributes:
        name: of the test.
        fullname: node id of the test; by it, runs are compared.
        group: as in `BenchmarkMetadata`, as are `param` and `params`.
        param: id of the parameters.
        params: parameters by name.
        seconds: how long an item took, one figure for each stretch of the load.
        extra_info: all else, as plain values.
        iterations: that each of these figures is the mean of.
    """

    name: str
    fullname: str
    group: str | None
    param: str | None
    params: Mapping[str, object] | None
    seconds: Sequence[float]
    extra_info: Mapping[str, object]
    iterations: int = 1

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {column.name: getattr(self, column.name) for column in fields(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> BenchmarkEntry:
        """The inverse of `to_json`.

        Raises:
            TypeError: if the values are not of this shape.
        """
        return cls(**value)


def benchmark_entries(
    records: Iterable[Record], facts: BenchmarkMetadata
) -> Iterator[BenchmarkEntry]:
    """What pytest-benchmark's session is told of the measurements of one test.

    A measurement without a speed is left out: one that answered nothing, a smoke run, or one
    whose measuring failed.
    """
    for record in records:
        found = record.measurement
        seconds = () if _says_no_speed(record) else seconds_an_item(found)
        if not seconds:
            continue
        name = found.name or ("dlperf" if facts.benchmarked else "")
        suffix = f"::{name}" if name else ""
        yield BenchmarkEntry(
            name=f"{own_name(found.test)}{suffix}",
            fullname=f"{found.test}{suffix}",
            group=facts.group,
            param=facts.param,
            params=facts.params,
            seconds=seconds,
            extra_info={**facts.extra_info, "dlperf": extra_info(record)},
        )


def extra_info(record: Record) -> dict[str, object]:
    """What pytest-benchmark's entry has no place for, as plain values."""
    found = record.measurement
    return {
        "schema": SCHEMA,
        "name": found.name,
        "scenario": found.scenario,
        "serving": found.serving,
        "slo": found.slo,
        "requests": found.requests,
        "metrics": metrics_to_json(found.metrics),
        "verdict": record.verdict.value,
        "budgets": [
            {"budget": judgement.budget, "verdict": judgement.verdict.value}
            for judgement in record.judgements
        ],
    }


def seconds_an_item(found: Measurement) -> tuple[float, ...]:
    """How long an item took, in seconds; one figure for each stretch of the load.

    The figures are to each other as the stretches' times an item were, and their mean is one over
    the throughput: the mean of stretches alone would give slow ones too much weight. A stretch in
    which nothing was answered is joined to the next one. Of a search for the highest rate there is
    one figure. Empty if there is no rate.
    """
    rate = found.metrics.get("throughput", found.metrics.get("max_rate"))
    if rate is None or not rate.value > 0:
        return ()
    level = 1 / rate.value
    stretches = (
        list(_stretches(found.series, found.seconds)) if "throughput" in found.metrics else []
    )
    if not stretches:
        return (level,)
    scale = level / (math.fsum(stretches) / len(stretches))
    return tuple(scale * seconds for seconds in stretches)


def _stretches(series: Series, seconds: float) -> Iterator[float]:
    """Seconds an item of each stretch with an answer."""
    waited = 0.0
    ends = (*series.seconds, seconds)[1:]
    for start, end, rate in zip(series.seconds, ends, series.rate, strict=True):
        length = max(0.0, end - start)
        waited += length
        items = rate * length
        if items > _HALF_AN_ITEM:
            yield waited / items
            waited = 0.0


def telling_metrics(record: Record) -> Mapping[str, Estimate]:
    """The metrics that say something: of a smoke run and a failed measuring, not the speeds."""
    metrics = record.measurement.metrics
    if not _says_no_speed(record):
        return metrics
    return {
        name: metrics[name] for name in metrics if name == "errors" or metric_named(name).of_answers
    }


def properties(records: Iterable[Record]) -> list[tuple[str, object]]:
    """Each metric and verdict as a property of the test, as JUnit has them.

    They are called `dlperf.METRIC`, or `dlperf.NAME.METRIC` for a measurement that has a name.
    """
    found: list[tuple[str, object]] = []
    for record in records:
        name = _printable(record.measurement.name)
        prefix = f"dlperf.{name}." if name else "dlperf."
        metrics = telling_metrics(record)
        found += [(f"{prefix}{metric}", rounded(metrics[metric].value)) for metric in metrics]
        found.append((f"{prefix}verdict", record.verdict.value))
    return found


def own_name(test: str) -> str:
    """The test's own name, without its file and class."""
    name, bracket, parameters = test.partition("[")
    return name.rsplit("::", 1)[-1] + bracket + parameters


def _says_no_speed(record: Record) -> bool:
    return record.quick or bool(record.measurement.invalid)


def _printable(text: str) -> str:
    """What XML cannot hold, as pytest writes it elsewhere."""
    return "".join(letter if letter.isprintable() else f"#x{ord(letter):02X}" for letter in text)
