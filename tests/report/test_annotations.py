"""What GitHub shows beside the lines of a pull request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from builders import estimate, make_judgement, make_measurement, make_record

from pytest_dlperf.report.github import SourceLocation, workflow_commands
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from pytest_dlperf.results.verdict import Leniency

PLACE = SourceLocation("tests/test_a.py", 12)
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
class Read:
    """A workflow command as the runner reads it."""

    command: str
    properties: dict[str, str]
    message: str


def read(line: str) -> Read:
    """The inverse of what `@actions/core` writes (`command.ts`); one line, one command."""
    match = re.fullmatch(r"::(\w+) (.*?)::(.*)", line)
    assert match is not None
    properties = dict(part.split("=", 1) for part in match[2].split(","))
    return Read(
        match[1],
        {name: unescaped(text) for name, text in properties.items()},
        unescaped(match[3]),
    )


def unescaped(text: str) -> str:
    """What was escaped; the percent sign last."""
    for code, letter in (("%3A", ":"), ("%2C", ","), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        text = text.replace(code, letter)
    return text


def commands(
    *judgements: object, missing: Leniency = "pass", inconclusive: Leniency = "warn", test: str = ""
) -> list[Read]:
    """What is written of one measurement."""
    found = make_measurement(test=test or "tests/test_a.py::test_it")
    record = make_record(*judgements, measurement=found)  # type: ignore[arg-type]
    lines = workflow_commands(record, PLACE, missing=missing, inconclusive=inconclusive)
    return [read(line) for line in lines]


def test_a_failed_budget_is_an_error_at_the_marker() -> None:
    """It has measured with its interval, limit, baseline and the next step."""
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
    """It says what would have been seen; a test with both has one of each."""
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
def test_the_level_is_what_it_does_to_the_test(
    missing: Leniency, inconclusive: Leniency, expected: list[str]
) -> None:
    """Open and new budgets are shown as the test takes them."""
    found = commands(OPEN, NEW, missing=missing, inconclusive=inconclusive)

    assert [one.command for one in found] == expected


def test_all_is_well() -> None:
    """A test that holds its budgets says nothing."""
    assert commands(make_judgement()) == []


def test_odd_names_stay_in_their_places() -> None:
    """Commas, colons, percent signs and line ends of a name end neither property nor command."""
    (error,) = commands(FAIL, test="tests/test_a.py::test_it[a,b:c::%0A\r\nd]")

    assert error.properties["title"] == "dlperf: test_it[a,b:c::%0A\r\nd]"
