"""`pytest-dlperf compare`: what two commits, branches, runs or files measured, side by side."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

from pytest_dlperf._command import WIDTH, Command, Outcome
from pytest_dlperf.errors import UsageError
from pytest_dlperf.history.compare import USUAL, compare_sides
from pytest_dlperf.history.compare_formats import (
    comparison_csv,
    comparison_json,
    comparison_markdown,
)
from pytest_dlperf.history.compare_report import Compare, comparison_lines
from pytest_dlperf.history.lookup import Reader, add_history_arguments
from pytest_dlperf.history.sources import apart, side_of, sound, title_of
from pytest_dlperf.metrics import metric_named

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

_FORMATS: Final = ("text", "markdown", "json", "csv")
_WHAT: Final = (
    "a commit, a branch, a file of --dlperf-json, or latest (the newest run in the history)"
)
_STATUS: Final = (
    "Exit status: 0 if the table was printed; 1 if --fail-on regression was given and a loss is "
    "proven (FAIL); 2 if there is nothing to compare: a commit or branch that was not measured, "
    "no test in common, a history or file that cannot be read."
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _STATUS
    parser.add_argument("base", metavar="A", help=f"what to compare with: {_WHAT}")
    parser.add_argument("candidate", metavar="B", help="what to compare: likewise")
    add_history_arguments(parser)
    parser.add_argument("--test", default="", metavar="TEXT", help="only tests with this in them")
    parser.add_argument(
        "--metric",
        action="append",
        metavar="NAME",
        help=f"only this metric; may be repeated; by default {', '.join(USUAL)}, and errors if "
        "there are any. The fewer, the smaller the losses that can be proven",
    )
    parser.add_argument("--format", choices=_FORMATS, default="text")
    parser.add_argument(
        "--fail-on", choices=("regression",), help="exit with 1 if a loss is proven"
    )


def _compared(given: argparse.Namespace) -> Compare:
    with Reader(given) as reader:
        base = sound(reader.source(given.base, given.test, accepted=True))
        candidate = sound(reader.source(given.candidate, given.test, accepted=False))
    # What was read tells of the metrics that users have defined.
    metrics = [metric_named(name).name for name in given.metric or ()] or None
    base, candidate = apart(base, candidate)
    base_side, side = side_of(base), side_of(candidate)
    titles = {title_of(place.test, place.name) for place in base_side}
    if not any(title_of(place.test, place.name) in titles for place in side):
        raise UsageError(
            f"{given.base} and {given.candidate} have no test in common",
            f"{given.base} has {min(titles)}"
            + (f" and {len(titles) - 1} more" if len(titles) > 1 else ""),
        )
    found = compare_sides(base_side, side, metrics)
    if not any(one.rows for one in found.measurements):
        raise UsageError(
            f"{given.candidate} measured none of {', '.join(metrics or USUAL)}",
            "choose others with --metric",
        )
    return Compare(base, candidate, base_side, side, found)


def _lines(compare: Compare, kind: str) -> Iterable[str]:
    match kind:
        case "markdown":
            return comparison_markdown(compare)
        case "json":
            return [json.dumps(comparison_json(compare), indent=2, allow_nan=False)]
        case "csv":
            return comparison_csv(compare)
    return comparison_lines(compare, WIDTH, colour=sys.stdout.isatty())


def _run(given: argparse.Namespace) -> Outcome:
    compare = _compared(given)
    failing = given.fail_on == "regression" and compare.found.failed
    return Outcome(_lines(compare, given.format), lambda: int(failing))


COMPARE: Final = Command(
    "compare",
    "compare what two commits, branches, runs or files of --dlperf-json measured",
    _arguments,
    _run,
)
