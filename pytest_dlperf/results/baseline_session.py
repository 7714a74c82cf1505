"""One session of a baseline: what was measured of which code, and its JSON."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.metrics import metric_named
from pytest_dlperf.results.codec import (
    as_object,
    as_text,
    at,
    check_metrics,
    ends_of,
    estimate_of,
    fields_from_json,
    fields_to_json,
    pace_from_json,
    pace_to_json,
)
from pytest_dlperf.results.environment import Environment
from pytest_dlperf.results.measurement import CallCounts
from pytest_dlperf.results.series import BlockSummary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_dlperf.statistics.estimate import Estimate
    from pytest_dlperf.statistics.pace import Pace


_SHORT: Final = 8  # digits of a commit


@dataclass(frozen=True, slots=True)
class Revision:
    """The measured code, and the day.

    Attributes:
        commit: full hash, with a `+` for uncommitted changes; empty outside a repository.
        branch: name, empty if detached or outside a repository.
        date: day in UTC, as 2026-11-23.
    """

    commit: str
    branch: str
    date: str

    @property
    def changed(self) -> bool:
        """Whether there were uncommitted changes."""
        return self.commit.endswith("+")

    def __str__(self) -> str:
        return f"{short(self.commit)}, {self.date}" if self.commit else self.date


def short(commit: str) -> str:
    """An abbreviated commit, with a `+` if there were uncommitted changes."""
    return commit[:_SHORT] + ("+" if commit.endswith("+") else "")


@dataclass(frozen=True, slots=True)
class BaselineSession:
    """What one session measured of accepted code.

    Attributes:
        yardstick: the machine's pace around the load, None if it was not measured.
        blocks: how evenly the session went, None if it was too short.
        answers: a fingerprint of the rows' results by the name of the metric, which is the same in
            two sessions if all rows were answered alike.
        counts: what errors are counted in; None in files that have no counts.
    """

    metrics: Mapping[str, Estimate]
    environment: Environment
    revision: Revision
    yardstick: Pace | None = None
    blocks: BlockSummary | None = None
    answers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    counts: CallCounts | None = None

    def to_json(self, previous: Environment | None) -> dict[str, object]:
        """Plain values; without the environment where it equals that of the previous session."""
        yardstick, blocks = self.yardstick, self.blocks
        return {
            "commit": self.revision.commit,
            "branch": self.revision.branch,
            "date": self.revision.date,
            **({"environment": self.environment.to_json()} if self.environment != previous else {}),
            **({"yardstick": pace_to_json(yardstick)} if yardstick is not None else {}),
            **({"blocks": blocks.to_json()} if blocks is not None else {}),
            **({"answers": dict(self.answers)} if self.answers else {}),
            **({"counts": fields_to_json(self.counts)} if self.counts is not None else {}),
            "metrics": {name: ends_of(estimate) for name, estimate in self.metrics.items()},
        }

    @classmethod
    def from_json(
        cls, value: dict[str, Any], previous: Environment | None, redefined: frozenset[str]
    ) -> BaselineSession:
        """The inverse of `to_json`; `previous` stands for an environment that is not written.

        Metrics in `redefined`, which now have another unit or direction, are left out.
        """
        value = as_object(value)
        if previous is None or "environment" in value:
            with at("environment"):
                previous = Environment.from_json(as_object(value["environment"]))
        metrics = {}
        with at("metrics"):
            check_metrics(as_object(value["metrics"]))
            for name, metric in value["metrics"].items():
                with at(name):
                    metrics[name] = _measured(name, estimate_of(metric))
        described = []
        for name in ("commit", "branch", "date"):
            with at(name):
                described.append(as_text(value[name]))
        with at("date"):
            _check_day(described[-1])
        with at("blocks"):
            blocks = BlockSummary.from_json(value["blocks"]) if "blocks" in value else None
        with at("answers"):
            answers = {
                as_text(name): as_text(hash_)
                for name, hash_ in as_object(value.get("answers", {})).items()
            }
        with at("counts"):
            counts = (
                fields_from_json(CallCounts, as_object(value["counts"]))
                if "counts" in value
                else None
            )
        with at("yardstick"):
            yardstick = pace_from_json(value.get("yardstick"))
        return cls(
            metrics=MappingProxyType({n: e for n, e in metrics.items() if n not in redefined}),
            environment=previous,
            revision=Revision(*described),
            yardstick=yardstick,
            blocks=blocks,
            answers=MappingProxyType(answers),
            counts=counts,
        )


def _measured(name: str, estimate: Estimate) -> Estimate:
    """The estimate, unless no session can have measured it: a ValueError."""
    if metric_named(name).unit == "1/s" and not metric_named(name).by_user and not estimate.value:
        raise ValueError("0 a second: nothing can be compared with it")
    return estimate


def _check_day(day: str) -> None:
    try:
        dt.date.fromisoformat(day)
    except ValueError:
        raise ValueError(f"{day!r:.80} is no day: expected one such as 2026-11-23") from None
