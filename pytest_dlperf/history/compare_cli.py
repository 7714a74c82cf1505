"""The command `pytest-dlperf compare`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

from pytest_dlperf._command import WIDTH, Command, CommandResult
from pytest_dlperf.errors import UsageError
from pytest_dlperf.history.compare import COMPARED, compare_sides
from pytest_dlperf.history.compare_formats import (
    comparison_csv,
    comparison_json,
    comparison_markdown,
)
from pytest_dlperf.history.compare_report import ComparedSources, comparison_lines
from pytest_dlperf.history.lookup import Reader, add_history_arguments
from pytest_dlperf.history.sources import (
    noise_of,
    side_of,
    unbounded_in,
    without_invalid,
    without_noisy,
    without_shared,
)
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.hints import COMPARABLE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

_FORMATS: Final = ("text", "markdown", "json", "csv")
_SOURCE: Final = f"{COMPARABLE} (the newest run in the history)"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Exit status: 0 if the table was printed; 1 if --fail-on regression was given and a loss "
        "is proven (FAIL); 2 if there is nothing to compare: a commit or branch that was not "
        "measured, no test in common, a history or file that cannot be read."
    )
    parser.add_argument("base", metavar="A", help=f"what to compare with: {_SOURCE}")
    parser.add_argument("candidate", metavar="B", help="what to compare: likewise")
    add_history_arguments(parser)
    parser.add_argument("--test", default="", metavar="TEXT", help="only tests with this in them")
    parser.add_argument(
        "--metric",
        action="append",
        metavar="NAME",
        help=f"only this metric; may be repeated; by default {', '.join(COMPARED)}, and errors if "
        "there are any. The fewer, the smaller the losses that can be proven",
    )
    parser.add_argument("--format", choices=_FORMATS, default="text")
    parser.add_argument(
        "--fail-on", choices=("regression",), help="exit with 1 if a loss is proven"
    )


def _run(given: argparse.Namespace) -> CommandResult:
    compared = _compare(given)
    failing = given.fail_on == "regression" and compared.comparison.failed
    return CommandResult(_lines(compared, given.format), lambda: int(failing))


def _compare(given: argparse.Namespace) -> ComparedSources:
    with Reader(given) as reader:
        base = without_invalid(reader.source(given.base, given.test, accepted=True))
        candidate = without_invalid(reader.source(given.candidate, given.test, accepted=False))
    # Only now: reading the sources has defined the users' metrics in them.
    metrics = [metric_named(name).name for name in given.metric or ()] or None
    base, candidate = map(without_noisy, without_shared(base, candidate))
    base_side, side = side_of(base), side_of(candidate)
    titles = {key.title for key in base_side}
    if not any(key.title in titles for key in side):
        raise UsageError(
            f"{given.base} and {given.candidate} have no test in common",
            f"{given.base} has {min(titles)}"
            + (f" and {len(titles) - 1} more" if len(titles) > 1 else ""),
        )
    comparison = compare_sides(
        *(base_side, side, metrics, noise_of(base, candidate)),
        base_unbounded=unbounded_in(base),
        unbounded=unbounded_in(candidate),
    )
    if not any(measurement.rows for measurement in comparison.measurements):
        raise UsageError(
            f"{given.candidate} measured none of {', '.join(metrics or COMPARED)}",
            "choose others with --metric",
        )
    return ComparedSources(base, candidate, base_side, side, comparison)


def _lines(compared: ComparedSources, kind: str) -> Iterable[str]:
    match kind:
        case "markdown":
            return comparison_markdown(compared)
        case "json":
            return [json.dumps(comparison_json(compared), indent=2, allow_nan=False)]
        case "csv":
            return comparison_csv(compared)
    return comparison_lines(compared, WIDTH, colour=sys.stdout.isatty())


COMPARE: Final = Command(
    "compare",
    "compare what two commits, branches, runs or files of --dlperf-json measured",
    _arguments,
    _run,
)
