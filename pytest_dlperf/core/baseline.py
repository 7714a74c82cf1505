"""Baseline: the accepted measurements of one test on one machine class, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.core.environment import Environment
from pytest_dlperf.core.metrics import METRICS
from pytest_dlperf.core.rows import Rows
from pytest_dlperf.core.statistics.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_dlperf.core.environment import MachineClass
    from pytest_dlperf.core.measurement import Measurement

SCHEMA: Final = 1
"""Version of the baseline files that this version writes and the newest that it reads."""

_DIGITS: Final = 6  # significant digits that a file keeps


@dataclass(frozen=True, slots=True)
class Revision:
    """What code was measured, and when.

    Attributes:
        commit: full hash, empty outside a repository; ends in `+` if there were uncommitted
            changes.
        branch: name, empty if detached or outside a repository.
        date: day in UTC, as 2026-11-23.
    """

    commit: str
    branch: str
    date: str

    def __str__(self) -> str:
        short = self.commit[:8] + ("+" if self.commit.endswith("+") else "")
        return f"{short}, {self.date}" if self.commit else self.date


@dataclass(frozen=True, slots=True)
class Accepted:
    """One accepted measurement.

    Attributes:
        scenario: the traffic, as text.
        serving: batching and replicas, as text.
        metrics: what was measured.
        rows: the evidence for accuracy, if the data had labels.
        environment: the software that it ran with.
        revision: the code, and when.
        slo: seconds within which an answer counted towards goodput.
    """

    scenario: str
    serving: str
    metrics: Mapping[str, Estimate]
    rows: Rows | None
    environment: Environment
    revision: Revision
    slo: float | None = None

    def to_json(self) -> dict[str, object]:
        """Plain values in a stable order."""
        return {
            "commit": self.revision.commit,
            "branch": self.revision.branch,
            "date": self.revision.date,
            "scenario": self.scenario,
            "serving": self.serving,
            "slo": self.slo,
            "environment": self.environment.to_json(),
            "metrics": metrics_to_json(self.metrics),
            "rows": self.rows.to_json() if self.rows else None,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Accepted:
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: if the values are not of this shape.
        """
        return cls(
            scenario=str(value["scenario"]),
            serving=str(value["serving"]),
            metrics=metrics_from_json(value["metrics"]),
            rows=Rows.from_json(value["rows"]) if value["rows"] is not None else None,
            environment=Environment.from_json(value["environment"]),
            revision=Revision(str(value["commit"]), str(value["branch"]), str(value["date"])),
            slo=float(value["slo"]) if value["slo"] is not None else None,
        )


@dataclass(frozen=True, slots=True)
class Baseline:
    """The accepted measurements of one test on one machine class, by measurement name."""

    test: str
    accepted: Mapping[str, Accepted]

    def to_json(self, machine: MachineClass) -> dict[str, object]:
        """Plain values in a stable order, with the machine's fields for people who review."""
        return {
            "schema": SCHEMA,
            "test": self.test,
            "machine": machine.to_json(),
            "measurements": {
                name: accepted.to_json() for name, accepted in sorted(self.accepted.items())
            },
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Baseline:
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: if the values are not of this shape.
        """
        return cls(
            test=str(value["test"]),
            accepted=MappingProxyType(
                {
                    name: Accepted.from_json(accepted)
                    for name, accepted in value["measurements"].items()
                }
            ),
        )


def accept(measurement: Measurement, environment: Environment, revision: Revision) -> Accepted:
    """What is kept of a measurement that becomes the baseline."""
    return Accepted(
        scenario=measurement.scenario,
        serving=measurement.serving,
        metrics=measurement.metrics,
        rows=measurement.rows,
        environment=environment,
        revision=revision,
        slo=measurement.slo,
    )


def metrics_to_json(metrics: Mapping[str, Estimate]) -> dict[str, dict[str, object]]:
    """Each metric with its interval, unit and direction, rounded to six significant digits."""
    return {
        name: {
            "value": _rounded(estimate.value),
            "low": _rounded(estimate.low),
            "high": _rounded(estimate.high),
            "unit": METRICS[name].unit,
            "better": METRICS[name].better,
        }
        for name, estimate in metrics.items()
    }


def metrics_from_json(value: dict[str, dict[str, Any]]) -> Mapping[str, Estimate]:
    """The inverse of `metrics_to_json`.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: if the values are not of this shape.
    """
    unknown = set(value) - set(METRICS)
    if unknown:
        raise ValueError(f"there is no metric {min(unknown)!r}")
    return MappingProxyType({name: estimate_from_json(metric) for name, metric in value.items()})


def estimate_from_json(value: dict[str, Any]) -> Estimate:
    """An estimate from its `value`, `low` and `high`.

    Raises:
        KeyError, TypeError, ValueError: if the values are not of this shape.
    """
    return Estimate(float(value["value"]), float(value["low"]), float(value["high"]))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
