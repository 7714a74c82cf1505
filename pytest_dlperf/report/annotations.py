"""Annotations: what GitHub Actions shows beside the lines of a pull request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.report.budget_table import judged_line, next_steps, reason_of
from pytest_dlperf.report.terminal import short_title
from pytest_dlperf.results.verdict import consequence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.config.options import Leniency
    from pytest_dlperf.results.record import Record

_LEVELS: Final[dict[Leniency, str]] = {"fail": "error", "warn": "warning"}


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file.

    Attributes:
        file: its path from the top of the repository, with slashes.
        line: the first is 1.
    """

    file: str
    line: int


def workflow_commands(
    record: Record, place: Place, *, missing: Leniency, inconclusive: Leniency
) -> Iterator[str]:
    """Workflow commands, one a line: an error if budgets fail the test, a warning if some warn.

    GitHub shows ten of each kind for a step, so the budgets of a measurement share one.

    Args:
        record: the measurement.
        place: of the test's marker.
        missing: what a relative budget without a baseline does to the test.
        inconclusive: what a budget that noise leaves open does to the test.
    """
    steps = list(next_steps(record))
    for level, command in _LEVELS.items():
        found = [
            judgement
            for judgement in record.judgements
            if consequence(
                judgement,
                # What was recorded is not missing any more.
                missing="pass" if record.kept else missing,
                inconclusive=inconclusive,
            )
            == level
        ]
        if not found:
            continue
        reasons = dict.fromkeys(reason_of(judgement) for judgement in found if judgement.reason)
        lines = [*map(judged_line, found), *reasons, *steps]
        steps = []  # said once
        yield (
            f"::{command} file={_property(place.file)},line={place.line},"
            f"title={_property(f'dlperf: {short_title(record)}')}::{_data(chr(10).join(lines))}"
        )


def _data(text: str) -> str:
    """A message as GitHub's runner reads it, in one line."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
