"""GitHub Actions: the summary of a run as Markdown, and annotations of tests."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.config.options import MEASURES
from pytest_dlperf.report.budget_table import (
    COLUMNS,
    bounds_of,
    budget_cells,
    explanations,
    judged_line,
    next_steps,
    reason_of,
)
from pytest_dlperf.report.tables import markdown_table
from pytest_dlperf.report.terminal import (
    QUICK,
    cells,
    metrics_shown,
    other_metrics,
    short_title,
    summary_columns,
)
from pytest_dlperf.results.verdict import Verdict, consequence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_dlperf.results.record import Record
    from pytest_dlperf.results.verdict import Leniency

_OPEN: Final = frozenset({Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.INVALID})
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|~&$])")
_CUT: Final = "The rest did not fit: see the log."
_LEVELS: Final[dict[Leniency, str]] = {"fail": "error", "warn": "warning"}


def run_markdown(records: Sequence[Record], machine: str, most_bytes: int) -> str:
    """A table of the measurements, then the budgets of each that has failed or open ones.

    Args:
        records: the measurements.
        machine: the machine class.
        most_bytes: limit of the text in UTF-8. What exceeds it is left out, and a note says so; if
            not even the note fits, the text is empty.
    """
    parts = ["\n".join([f"### dlperf: {text_cell(machine)}", *_summary(records)])]
    parts += ["\n".join(_details(record)) for record in records if record.verdict in _OPEN]
    room = most_bytes - len(f"{_CUT}\n".encode())
    if room < 0:
        return ""
    kept: list[str] = []
    for part in parts:
        room -= len(f"{part}\n\n".encode())
        if room < 0:
            kept.append(_CUT)
            break
        kept.append(part)
    return "\n\n".join(kept) + "\n"


def _summary(records: Sequence[Record]) -> list[str]:
    names = metrics_shown(records)
    rows = (
        (
            code_cell(short_title(record)),
            *map(text_cell, cells(record, names)),
            _verdict(record.verdict),
        )
        for record in records
    )
    others = [
        f"- {code_cell(short_title(record))}: {text_cell(' '.join(lines))}"
        for record in records
        if (lines := other_metrics(record))
    ]
    others += [
        f"- {code_cell(short_title(record))}: {text_cell(bounds)}"
        for record in records
        if record.verdict not in _OPEN and (bounds := bounds_of(record.judgements))
    ]
    return [
        "",
        *markdown_table(summary_columns(names), rows),
        *(["", *others] if others else []),
        *(["", QUICK] if any(record.quick for record in records) else []),
    ]


def _details(record: Record) -> list[str]:
    rows = (
        (
            code_cell(judgement.budget),
            *("<br>".join(map(text_cell, cell.split("\n"))) for cell in budget_cells(judgement)),
            _verdict(judgement.verdict),
        )
        for judgement in record.judgements
        if judgement.verdict in _OPEN
    )
    measurement = record.measurement
    load = f"{measurement.target}; {measurement.scenario}, {measurement.serving}"
    steps = list(next_steps(record))
    return [
        f"#### {record.verdict}: {_code(measurement.title)}",
        "",
        *markdown_table(COLUMNS, rows),
        "",
        *_fenced([*explanations(record), load, *(["", *steps] if steps else [])]),
    ]


def _verdict(verdict: Verdict) -> str:
    return f"**{verdict}**" if verdict in _OPEN else verdict.value


def text_cell(text: str) -> str:
    """Text with Markdown's special characters escaped, in one line."""
    return _SPECIAL.sub(r"\\\1", _one_line(text))


def code_cell(text: str) -> str:
    """Text as code in a cell."""
    # A stroke ends the cell even inside of code.
    return _code(text).replace("|", "\\|")


def _code(text: str) -> str:
    plain = _one_line(text)
    fence = _fence(plain, 1)
    pad = " " if "`" in plain else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def _fenced(lines: Sequence[str]) -> list[str]:
    text = "\n".join(lines)
    fence = _fence(text, 3)
    return [f"{fence}text", text, fence]


def _fence(text: str, least: int) -> str:
    """More backticks than stand in a row anywhere in the text."""
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def marker_line(source: str, first: int) -> int:
    r"""The line of a test's own dlperf marker, else that of its `def`, else `first`.

    Args:
        source: of the module.
        first: the first line of the test's function, its decorators included.

    >>> marker_line("@pytest.mark.slow\n@pytest.mark.dlperf('p99 <= 1s')\ndef test_it(): ...", 1)
    2
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return first
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        decorators = node.decorator_list
        if first in {node.lineno, *(decorator.lineno for decorator in decorators)}:
            markers = (decorator.lineno for decorator in decorators if _name(decorator) == MEASURES)
            return next(markers, node.lineno)
    return first


def _name(decorator: ast.expr) -> str:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    match function:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A line of a file.

    Attributes:
        file: path from the top of the repository, with slashes.
        line: counted from 1.
    """

    file: str
    line: int


def workflow_commands(
    record: Record,
    location: SourceLocation,
    *,
    missing: Leniency,
    inconclusive: Leniency,
    base_broken: Leniency,
) -> Iterator[str]:
    """Workflow commands, one a line: an error if budgets fail the test, a warning if some warn.

    GitHub shows ten of each kind for a step, so the budgets of a measurement share one.

    Args:
        record: the measurement.
        location: of the test's marker.
        missing: what a relative budget without a baseline does to the test.
        inconclusive: what a budget that noise leaves open does to the test.
        base_broken: what a base that could not be measured does to the test.
    """
    # What this run has recorded is not missing any more.
    missing = "pass" if record.kept else missing
    steps = list(next_steps(record))
    for level, command in _LEVELS.items():
        judgements = [
            judgement
            for judgement in record.judgements
            if consequence(
                judgement, missing=missing, inconclusive=inconclusive, base_broken=base_broken
            )
            == level
        ]
        if not judgements:
            continue
        reasons = dict.fromkeys(
            reason_of(judgement) for judgement in judgements if judgement.reason
        )
        lines = [*map(judged_line, judgements), *reasons, *steps]
        steps = []  # only in the first command
        yield (
            f"::{command} file={_property(location.file)},line={location.line},"
            f"title={_property(f'dlperf: {short_title(record)}')}::{_data(chr(10).join(lines))}"
        )


def _data(text: str) -> str:
    """A message of several lines in one, as GitHub's runner decodes it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
