"""`pytest-dlperf history`: a test over all its runs, and where its level changed."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from typing import TYPE_CHECKING, Final

from pytest_dlperf._command import WIDTH, Command, CommandResult, rootdir
from pytest_dlperf.errors import UsageError
from pytest_dlperf.git import git
from pytest_dlperf.history.compare import COMPARED, compare_sides
from pytest_dlperf.history.compare_formats import (
    comparison_csv,
    comparison_json,
    comparison_markdown,
)
from pytest_dlperf.history.compare_report import ComparedSources, comparison_lines
from pytest_dlperf.history.entries import Query
from pytest_dlperf.history.lookup import Reader, add_history_arguments
from pytest_dlperf.history.sources import apart, side_of, sound
from pytest_dlperf.history.timeline import FALSE_ALARMS, alike, timeline_of
from pytest_dlperf.history.timeline_report import SCHEMA, history_json, history_lines
from pytest_dlperf.metrics import USUAL, in_order, is_usual, metric_named
from pytest_dlperf.results.measurement import title_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pytest_dlperf.history.entries import Entry, MeasurementId
    from pytest_dlperf.history.timeline import Timeline


_LIMIT: Final = 500
_NAMED: Final = 10


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
    parser.epilog = (
        "Exit status: 0 if the history was printed, whatever it shows; 2 if there is none: an "
        "unknown or ambiguous TEST, a history that cannot be read."
    )
    parser.add_argument("test", metavar="TEST", help="a node id, or a part that only one test has")
    parser.add_argument(
        "--metric",
        metavar="METRIC",
        help=f"only this one; by default {', '.join(USUAL)}, those with a goal and those that "
        "users have defined",
    )
    parser.add_argument("--branch", metavar="B", help="only runs of this branch")
    parser.add_argument(
        "--limit",
        type=_number,
        default=_LIMIT,
        metavar="N",
        help=f"the newest N runs; default {_LIMIT}",
    )
    add_history_arguments(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r:.80}: expected a number of runs, at least 1")
    return int(text)


def _chronicles(given: argparse.Namespace) -> list[Timeline]:
    import numpy as np

    with Reader(given) as reader:
        query = Query(machine=given.machine, branch=given.branch)
        places = _places(given, reader.history.places(query), reader.history.place)
        measured = [
            alike(newest_first)
            for name in dict.fromkeys(place.name for place in places)
            for newest_first in [_entries(reader, given, places[0].test, name)]
        ]
    kept = [(entries, left_out) for entries, left_out in measured if entries]
    if not kept:
        raise UsageError(f"of {places[0].test} there are only runs whose measuring failed")
    there = in_order(name for entries, _ in kept for one in entries for name in one.found.metrics)
    wanted = (metric_named(given.metric).name,) if given.metric else tuple(filter(is_usual, there))
    curves = sum(
        any(metric in entry.found.metrics for entry in entries)
        for entries, _ in kept
        for metric in wanted
    )
    if not curves:
        raise UsageError(
            f"{places[0].test} has no {', '.join(wanted or USUAL)}",
            f"it has {', '.join(there)}: choose with --metric",
        )
    alpha = FALSE_ALARMS / curves
    # The same history always reads the same, and no two share the luck of their permutations.
    rng = np.random.default_rng([len(kept[0][0]), *kept[0][0][-1].run.key.encode()])
    return [
        timeline_of(entries, (*left_out, *_elsewhere(places, entries)), wanted, alpha, rng)
        for entries, left_out in kept
    ]


def _places(
    given: argparse.Namespace, places: Sequence[MeasurementId], history: str
) -> tuple[MeasurementId, ...]:
    """The measurements of the one test that is meant."""
    text = given.test
    tests = list(dict.fromkeys(place.test for place in places))
    meant = [test for test in tests if test == text] or [test for test in tests if text in test]
    if len(meant) == 1:
        return tuple(place for place in places if place.test == meant[0])
    listed = meant or difflib.get_close_matches(text, tests, n=_NAMED, cutoff=0.3) or tests
    more = f"\n  and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    hint = "\n  ".join(listed[:_NAMED]) + more
    if meant:
        raise UsageError(f"{text!r:.200} is a part of {len(meant)} tests:", hint)
    limits = [
        f"{what} {value}"
        for what, value in (("on branch", given.branch), ("on machine class", given.machine))
        if value
    ]
    where = " ".join([history, *limits])
    if not tests:
        raise UsageError(f"nothing was measured in {where}", "run pytest, or name another history")
    raise UsageError(f"no test of {where} is called like {text!r:.200}; there are:", hint)


def _entries(reader: Reader, given: argparse.Namespace, test: str, name: str) -> tuple[Entry, ...]:
    """The newest runs, on the machine class of the newest of all unless one is named."""
    machine = given.machine
    if machine is None:
        asked = Query(test=test, name=name, branch=given.branch, limit=1)
        machine = reader.history.entries(asked)[0].run.machine.slug
    return reader.history.entries(
        Query(test=test, name=name, branch=given.branch, machine=machine, limit=given.limit)
    )


def _elsewhere(places: Sequence[MeasurementId], entries: Sequence[Entry]) -> Iterator[str]:
    """What other machine classes there are."""
    here = entries[-1].run.machine.slug
    others = sorted({p.machine.slug for p in places if p.name == entries[-1].name} - {here})
    if others:
        yield f"runs on {', '.join(others)} (--machine)"


def _lines(chronicles: Sequence[Timeline], root: Path) -> Iterator[str]:
    def commits_between(good: str, bad: str) -> int | None:
        counted = git(root, "rev-list", "--count", f"{good}..{bad}")
        return int(counted) if counted.isdecimal() else None

    for number, one in enumerate(chronicles):
        if number:
            yield ""
        yield from history_lines(one, WIDTH, commits_between, colour=sys.stdout.isatty())


def _run(given: argparse.Namespace) -> CommandResult:
    chronicles = _chronicles(given)
    if given.format == "json":
        found = {"schema": SCHEMA, "measurements": [history_json(one) for one in chronicles]}
        return CommandResult([json.dumps(found, indent=2, allow_nan=False)])
    return CommandResult(_lines(chronicles, rootdir(given)))


HISTORY: Final = Command(
    "history",
    "show a test over all its runs, and where its level changed",
    _arguments,
    _run,
)


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _STATUS
    parser.add_argument("base", metavar="A", help=f"what to compare with: {_WHAT}")
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


def _compared(given: argparse.Namespace) -> ComparedSources:
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
            f"{given.candidate} measured none of {', '.join(metrics or COMPARED)}",
            "choose others with --metric",
        )
    return ComparedSources(base, candidate, base_side, side, found)


def _compare_lines(compare: ComparedSources, kind: str) -> Iterable[str]:
    match kind:
        case "markdown":
            return comparison_markdown(compare)
        case "json":
            return [json.dumps(comparison_json(compare), indent=2, allow_nan=False)]
        case "csv":
            return comparison_csv(compare)
    return comparison_lines(compare, WIDTH, colour=sys.stdout.isatty())


def _compare_run(given: argparse.Namespace) -> CommandResult:
    compare = _compared(given)
    failing = given.fail_on == "regression" and compare.comparison.failed
    return CommandResult(_compare_lines(compare, given.format), lambda: int(failing))


COMPARE: Final = Command(
    "compare",
    "compare what two commits, branches, runs or files of --dlperf-json measured",
    _compare_arguments,
    _compare_run,
)
