"""All measurements as text that Prometheus and GitLab read.

The text is valid both as OpenMetrics (GitLab's `artifacts:reports:metrics`) and as Prometheus'
older text format (the textfile collector of node_exporter, which refuses timestamps); only gauges
are the same in both. GitLab splits a line at blanks outside of quotes, so the only one is before
the value. It also cuts lines at a `#`, so it misses a test with one in its id.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from pytest_dlperf.metrics import in_order, metric_named
from pytest_dlperf.report.exports import valid_metrics
from pytest_dlperf.results.codec import rounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.record import Record
    from pytest_dlperf.units import Dimension

_UNITS: Final[dict[Dimension, str]] = {
    "s": "seconds",
    "1/s": "per_second",
    "share": "ratio",
    "bytes": "bytes",
    "1": "",
}
_ENDS: Final = {"": "value", "low": "low", "high": "high"}
"""Field of an estimate, by what its gauge has in its name."""
_HELP: Final = {
    "": "what was measured",
    "low": "lower end of its 95 % interval",
    "high": "upper end of its 95 % interval",
}


def openmetrics_text(records: Iterable[Record]) -> str:
    """One gauge for each metric, and one for each end of its interval if it has one.

    Their labels are test, name and scenario, which stay the same from commit to commit. The speeds
    of smoke runs and of INVALID measurements are left out. `dlperf_verdict` is 1 for the gravest
    verdict of each measurement.
    """
    records = list(records)
    lines: list[str] = []
    for name in in_order(name for record in records for name in record.measurement.metrics):
        for end in _ENDS:
            lines += _family(metric_named(name), end, records)
    if records:
        lines += _head("dlperf_verdict", "", "1 for the gravest verdict of its budgets")
        for record in records:
            labels = {**_labels(record), "verdict": record.verdict.value}
            lines.append(_sample("dlperf_verdict", labels, 1.0))
    return "\n".join([*lines, "# EOF", ""])


def _family(metric: Metric, end: str, records: Iterable[Record]) -> list[str]:
    unit = _UNITS[metric.unit]
    name = "_".join(filter(None, ("dlperf", _word(metric.name), end, unit)))
    samples = [
        _sample(name, _labels(record), getattr(estimate, _ENDS[end]))
        for record in records
        for estimate in [valid_metrics(record).get(metric.name)]
        # Counted values have no interval, and some intervals no upper bound.
        if estimate is not None
        and (not end or estimate.low < estimate.high)
        and math.isfinite(getattr(estimate, _ENDS[end]))
    ]
    return [*_head(name, unit, f"{metric.name}, {_HELP[end]}"), *samples] if samples else []


def _head(name: str, unit: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} gauge"
    if unit:
        yield f"# UNIT {name} {unit}"


def _labels(record: Record) -> dict[str, str]:
    measurement = record.measurement
    return {
        "test": measurement.test,
        "name": measurement.name,
        "scenario": measurement.scenario,
    }


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    # To Prometheus, an empty label is the same as none.
    shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items() if text)
    return f"{name}{{{shown}}} {rounded(value)!r}"


def _escaped(text: str) -> str:
    plain = text.encode("utf-8", "backslashreplace").decode()
    return plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _word(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")
