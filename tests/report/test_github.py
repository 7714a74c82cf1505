"""What GitHub Actions shows: the summary of a run, and annotations of tests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from builders import estimate, make_judgement, make_measurement, make_record
from markdown_it import MarkdownIt

from pytest_dlperf.report.github import (
    SourceLocation,
    marker_line,
    run_markdown,
    workflow_commands,
)
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from pytest_dlperf.results.verdict import Judgement, Leniency

MOST = 1 << 20
FAST = make_record(
    make_judgement(),
    measurement=make_measurement({"throughput": estimate(1000.0), "p99": estimate(0.02)}),
)
SLOW = make_record(
    make_judgement(
        Verdict.FAIL, measured=estimate(900.0, 0.1), limit=1200.0, baseline=1300.0, revision="0123"
    ),
    make_judgement(
        Verdict.INCONCLUSIVE,
        budget="p99 <= 20ms",
        metric="p99",
        measured=estimate(0.02, 0.1),
        reason="the noise hides it",
        fails_at=0.03,
    ),
    make_judgement(Verdict.PASS, budget="errors == 0", metric="errors"),
    measurement=make_measurement(test="tests/test_a.py::test_slow[`a|b`_*c*]"),
)


def tables(text: str) -> list[list[list[str]]]:
    """The cells of each table, as they are rendered."""
    cells: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        match token.type:
            case "table_open":
                cells.append([])
            case "tr_open":
                cells[-1].append([])
            case "inline" if token.children and cells and token.level > 1:
                shown = (child.content or " " for child in token.children)
                cells[-1][-1].append("".join(shown).strip())
    return cells


def test_a_row_for_each_measurement() -> None:
    """The same columns as in the terminal, the verdict last."""
    (table,) = tables(run_markdown([FAST], "intel_xeon-2cpu", MOST))

    assert table == [
        ["measurement", "throughput", "p50", "p99", "accuracy", "verdict"],
        ["test_fast", "1,000/s", "-", "20 ms", "-", "PASS"],
    ]


def test_the_machine_class_is_the_heading() -> None:
    """Its underlines are no mark-up."""
    tokens = MarkdownIt("commonmark").parse(run_markdown([FAST], "intel_xeon_2cpu", MOST))

    heading = next(token for token in tokens if token.type == "inline").children
    assert heading is not None
    assert "".join(child.content for child in heading) == "dlperf: intel_xeon_2cpu"


def test_failed_and_open_budgets_have_a_table() -> None:
    """Measured with interval, limit, baseline; then why it is open and what to run next."""
    text = run_markdown([FAST, SLOW], "m", MOST)

    _, budgets = tables(text)
    assert budgets == [
        ["budget", "measured", "limit", "baseline", "verdict"],
        ["throughput >= 900/s", "900/s<br>810 to 990/s", "1,200/s", "1,300/s<br>0123", "FAIL"],
        ["p99 <= 20ms", "20 ms<br>18 to 22 ms", "-", "-", "INCONCLUSIVE"],
    ]
    assert "p99: the noise hides it; above 30 ms it would have been a FAIL" in text
    assert "--dlperf-update=all" in text
    assert "#### FAIL" in text
    assert text.count("####") == 1


def test_odd_names_are_shown_as_they_are() -> None:
    """Strokes, backticks, stars and underlines of a node id break no table."""
    text = run_markdown([SLOW], "m", MOST)

    assert tables(text)[0][1][0] == "test_slow[`a|b`_*c*]"
    assert "`` tests/test_a.py::test_slow[`a|b`_*c*] ``" in text


def test_a_long_summary_is_cut_between_measurements() -> None:
    """GitHub drops a summary that is too long, so it is cut before, with a note."""
    many = [SLOW] * 100
    whole = run_markdown(many, "m", MOST)

    cut = run_markdown(many, "m", 20_000)

    assert len(cut.encode()) <= 20_000
    assert cut.endswith("The rest did not fit: see the log.\n")
    assert whole.startswith(cut.removesuffix("\n\nThe rest did not fit: see the log.\n"))
    assert "The rest" not in whole
    assert not run_markdown(many, "m", 10)


def test_a_smoke_run_is_marked() -> None:
    """Its speeds are not judged."""
    quick = make_record(make_judgement(), quick=True)

    assert "quick: only errors" in run_markdown([quick], "m", MOST)


LOCATION = SourceLocation("tests/test_a.py", 12)
FAIL = make_judgement(
    Verdict.FAIL,
    budget="throughput >= 95%, of all",
    measured=estimate(1000.0, 0.1),
    limit=1200.0,
    baseline=1300.0,
    revision="01234567, 2026-11-23",
)
OPEN = make_judgement(
    Verdict.INCONCLUSIVE,
    budget="p99 <= 20ms",
    metric="p99",
    measured=estimate(0.02, 0.1),
    limit=0.02,
    fails_at=0.03,
    reason="the noise hides a loss of this size",
)
NEW = make_judgement(Verdict.NEW, budget="p50 <= baseline", metric="p50", reason="no baseline yet")


@dataclass(frozen=True)
class Command:
    """A workflow command as GitHub's runner decodes it."""

    command: str
    properties: dict[str, str]
    message: str


def read(line: str) -> Command:
    """The inverse of `command.ts` of `@actions/core`; one line is one command."""
    match = re.fullmatch(r"::(\w+) (.*?)::(.*)", line)
    assert match is not None
    properties = dict(part.split("=", 1) for part in match[2].split(","))
    return Command(
        match[1],
        {name: unescaped(text) for name, text in properties.items()},
        unescaped(match[3]),
    )


def unescaped(text: str) -> str:
    """Unescape; the percent sign last."""
    for code, letter in (("%3A", ":"), ("%2C", ","), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        text = text.replace(code, letter)
    return text


def commands(
    *judgements: Judgement,
    missing: Leniency = "pass",
    inconclusive: Leniency = "warn",
    test: str = "",
) -> list[Command]:
    """The commands for one measurement."""
    measurement = make_measurement(test=test or "tests/test_a.py::test_it")
    record = make_record(*judgements, measurement=measurement)
    lines = workflow_commands(
        record, LOCATION, missing=missing, inconclusive=inconclusive, base_broken="fail"
    )
    return [read(line) for line in lines]


def test_a_failed_budget_is_an_error_at_the_marker() -> None:
    """It has the measured value with its interval, limit, baseline and the next step."""
    (error,) = commands(FAIL)

    assert error.command == "error"
    assert error.properties == {
        "file": "tests/test_a.py",
        "line": "12",
        "title": "dlperf: test_it",
    }
    first, *rest = error.message.split("\n")
    assert first == (
        "throughput >= 95%, of all: FAIL; measured 1,000/s, 900 to 1,100/s; limit 1,200/s; "
        "baseline 1,300/s, 01234567, 2026-11-23"
    )
    assert "  pytest tests/test_a.py::test_it" in rest


def test_an_open_budget_is_a_warning() -> None:
    """It names the value at which it would fail; with a failed budget there is one of each."""
    error, warning = commands(FAIL, OPEN)

    assert (error.command, warning.command) == ("error", "warning")
    assert warning.message.split("\n") == [
        "p99 <= 20ms: INCONCLUSIVE; measured 20 ms, 18 to 22 ms; limit 20 ms",
        "the noise hides a loss of this size; above 30 ms it would have been a FAIL",
    ]


@pytest.mark.parametrize(
    ("missing", "inconclusive", "expected"),
    [
        ("pass", "pass", []),
        ("pass", "warn", ["warning"]),
        ("warn", "pass", ["warning"]),
        ("fail", "warn", ["error", "warning"]),
        ("fail", "fail", ["error"]),
    ],
)
def test_levels_follow_the_effect_on_the_test(
    missing: Leniency, inconclusive: Leniency, expected: list[str]
) -> None:
    """Open and new budgets are errors only if they fail the test."""
    levels = [
        command.command
        for command in commands(OPEN, NEW, missing=missing, inconclusive=inconclusive)
    ]

    assert levels == expected


def test_a_base_that_could_not_be_measured_is_an_error() -> None:
    """With the cause, and how to leave the comparison open."""
    reason = "the test fails at main: FileNotFoundError: 'rows.npy'"
    broken = make_judgement(Verdict.INCONCLUSIVE, reason=reason, base_broken=True)

    (error,) = commands(broken)

    assert error.command == "error"
    assert reason in error.message.split("\n")
    assert "leave the comparison open: add --dlperf-base-broken=warn" in error.message


def test_a_passed_test_has_no_annotation() -> None:
    """Only failed and open budgets are shown."""
    assert commands(make_judgement()) == []


def test_odd_names_are_escaped() -> None:
    """Commas, colons, percent signs and line ends of a name end neither property nor command."""
    (error,) = commands(FAIL, test="tests/test_a.py::test_it[a,b:c::%0A\r\nd]")

    assert error.properties["title"] == "dlperf: test_it[a,b:c::%0A\r\nd]"


SOURCE = """\
import pytest

@pytest.mark.slow
@pytest.mark.dlperf(
    "p99 <= 1s",
)
def test_marked(dlperf):
    pass

@pytest.mark.slow
def test_unmarked(dlperf):
    pass

class TestThings:
    @mark.dlperf
    async def test_inner(self, dlperf):
        pass

def test_plain(dlperf):
    pass
"""


@pytest.mark.parametrize(
    ("first", "line"),
    [
        pytest.param(3, 4, id="below another decorator"),
        pytest.param(10, 11, id="no marker of its own: its def"),
        pytest.param(15, 15, id="in a class"),
        pytest.param(19, 19, id="no decorator"),
        pytest.param(1, 1, id="no test is there"),
        pytest.param(99, 99, id="beyond the end"),
    ],
)
def test_marker_line(first: int, line: int) -> None:
    """From the first line of the function to that of its marker."""
    assert marker_line(SOURCE, first) == line


@pytest.mark.parametrize("source", ["def (", "\0", ""])
def test_the_marker_line_without_python(source: str) -> None:
    """A file that has changed meanwhile is no error."""
    assert marker_line(source, 7) == 7


def test_what_a_pass_excludes() -> None:
    """Below the table, as no table of budgets follows for a test that passed."""
    passed = make_record(make_judgement(excluded=0.041))
    failed = make_record(make_judgement(Verdict.FAIL, proven=0.062))

    summary = run_markdown([passed, failed], "machine", 100_000)

    assert "- `test_fast`: throughput: a loss of 4.1 % or more is excluded" in summary
    assert "throughput: at least 6.2 % was lost" in summary.partition("#### FAIL")[2]
