"""Markdown: the measurements of a run, as GitHub shows them below a workflow run."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.config.options import MEASURES
from pytest_dlperf.report.budget_table import (
    budget_cells,
    explanations,
    judged_line,
    next_steps,
    reason_of,
)
from pytest_dlperf.report.terminal import cells, columns, figure_lines, short_title
from pytest_dlperf.results.verdict import Verdict, consequence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_dlperf.results.record import Record
    from pytest_dlperf.results.verdict import Leniency


_OPEN: Final = frozenset({Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.INVALID})
_BUDGETS: Final = ("budget", "measured", "limit", "baseline", "verdict")
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|~&$])")
_CUT: Final = "The rest did not fit: see the log."


_LEVELS: Final[dict[Leniency, str]] = {"fail": "error", "warn": "warning"}


def run_markdown(records: Sequence[Record], machine: str, most_bytes: int) -> str:
    """A table of the measurements, then every one with a failed or an open budget.

    Args:
        records: what was measured.
        machine: the machine class.
        most_bytes: of the text in UTF-8; what would be beyond is left out, and that is said. If
            there is no room to say it, there is no text.
    """
    whole = [f"### dlperf: {text_cell(machine)}", *_table_of(records)]
    parts = ["\n".join(whole)]
    parts += ["\n".join(_details(one)) for one in records if one.verdict in _OPEN]
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


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: frozenset[str]) -> list[str]:
    """The lines of a table.

    Args:
        header: names of the columns.
        rows: what is in each column, as Markdown.
        left: columns that are not set to the right.
    """
    marks = ["---" if name in left else "--:" for name in header]
    return [f"| {' | '.join(row)} |" for row in (header, marks, *rows)]


def _table_of(records: Sequence[Record]) -> list[str]:
    names = columns(records)
    rows = [
        [code_cell(short_title(one)), *map(text_cell, cells(one, names)), _verdict(one.verdict)]
        for one in records
    ]
    header = ("measurement", *names, "verdict")
    told = [
        f"- {code_cell(short_title(one))}: {text_cell(' '.join(lines))}"
        for one in records
        if (lines := figure_lines(one))
    ]
    quick = any(record.quick for record in records)
    note = "quick: only errors and absolute budgets on answers were judged"
    return [
        "",
        *table(header, rows, frozenset({"measurement", "verdict"})),
        *(["", *told] if told else []),
        *(["", note] if quick else []),
    ]


def _details(record: Record) -> list[str]:
    judged = [judgement for judgement in record.judgements if judgement.verdict in _OPEN]
    rows = [
        [
            code_cell(judgement.budget),
            *("<br>".join(map(text_cell, cell.split("\n"))) for cell in budget_cells(judgement)),
            _verdict(judgement.verdict),
        ]
        for judgement in judged
    ]
    found = record.measurement
    said = [*explanations(record), f"{found.target}; {found.scenario}, {found.serving}"]
    steps = list(next_steps(record))
    return [
        f"#### {record.verdict}: {_code(found.title)}",
        "",
        *table(_BUDGETS, rows, frozenset({"budget", "verdict"})),
        "",
        *_fenced([*said, *(["", *steps] if steps else [])]),
    ]


def _verdict(verdict: Verdict) -> str:
    return f"**{verdict}**" if verdict in _OPEN else verdict.value


def text_cell(text: str) -> str:
    """Text that means itself, in one line."""
    return _SPECIAL.sub(r"\\\1", _one_line(text))


def code_cell(text: str) -> str:
    """Text as code in a table, where a stroke ends the cell even inside of code."""
    return _code(text).replace("|", "\\|")


def _code(text: str) -> str:
    """Text as code, whatever is in it."""
    plain = _one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    pad = " " if "`" in plain else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def _fenced(lines: Sequence[str]) -> list[str]:
    text = "\n".join(lines)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return [f"{fence}text", text, fence]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def marker_line(source: str, first: int) -> int:
    r"""The line of a test's own dlperf marker, else that of its `def`, else the one given.

    Args:
        source: of the module.
        first: the line at which the test's function begins, its decorators included.

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
        if first in {node.lineno, *(one.lineno for one in node.decorator_list)}:
            marks = (one.lineno for one in node.decorator_list if _name(one) == MEASURES)
            return next(marks, node.lineno)
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
        file: its path from the top of the repository, with slashes.
        line: the first is 1.
    """

    file: str
    line: int


def workflow_commands(
    record: Record, place: SourceLocation, *, missing: Leniency, inconclusive: Leniency
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
