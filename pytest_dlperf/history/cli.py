"""The command `pytest-dlperf history`."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pytest_dlperf._command import WIDTH, Command, CommandResult, rootdir
from pytest_dlperf.errors import UsageError
from pytest_dlperf.git import git
from pytest_dlperf.history.company import Company
from pytest_dlperf.history.entries import Query
from pytest_dlperf.history.lookup import Reader, add_history_arguments
from pytest_dlperf.history.timeline import FALSE_ALARMS, comparable_entries, timeline_of
from pytest_dlperf.history.timeline_report import SCHEMA, history_json, history_lines
from pytest_dlperf.metrics import USUAL, in_order, is_usual, metric_named
from pytest_dlperf.report.tables import limited

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_dlperf.history.entries import Entry, MeasurementId
    from pytest_dlperf.history.timeline import Timeline


_LIMIT: Final = 500
_LISTED: Final = 10  # tests in a message
_MOST_OTHERS: Final = 20  # tests to compare with; more would say little more


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


def _run(given: argparse.Namespace) -> CommandResult:
    timelines = _timelines(given)
    if given.format == "json":
        content = {"schema": SCHEMA, "measurements": list(map(history_json, timelines))}
        return CommandResult([json.dumps(content, indent=2, allow_nan=False)])
    return CommandResult(_lines(timelines, rootdir(given)))


def _timelines(given: argparse.Namespace) -> list[Timeline]:
    """A timeline of each measurement of the test."""
    import numpy as np

    with Reader(given) as reader:
        query = Query(machine=given.machine, branch=given.branch)
        keys = _keys_of_test(given, reader.history.measurements(query), reader.history.place)
        test = keys[0].test
        measurements = [
            comparable_entries(_entries(reader, given, test, name))
            for name in dict.fromkeys(key.name for key in keys)
        ]
        company = {
            machine: _company(reader, given, test, machine)
            for machine in {entries[-1].run.machine.slug for entries, _ in measurements if entries}
        }
    measurements = [(entries, left_out) for entries, left_out in measurements if entries]
    if not measurements:
        raise UsageError(f"of {test} there are only runs whose measuring failed")
    names = in_order(
        name for entries, _ in measurements for entry in entries for name in entry.result.metrics
    )
    wanted = (metric_named(given.metric).name,) if given.metric else tuple(filter(is_usual, names))
    curves = sum(
        any(metric in entry.result.metrics for entry in entries)
        for entries, _ in measurements
        for metric in wanted
    )
    if not curves:
        raise UsageError(
            f"{test} has no {', '.join(wanted or USUAL)}",
            f"it has {', '.join(names)}: choose with --metric",
        )
    alpha = FALSE_ALARMS / curves
    # The same history has the same output; different ones have independent permutations.
    first = measurements[0][0]
    rng = np.random.default_rng([len(first), *first[-1].run.key.encode()])
    return [
        timeline_of(
            *(entries, (*left_out, *_other_machines(keys, entries)), wanted, alpha, rng),
            company=company[entries[-1].run.machine.slug],
        )
        for entries, left_out in measurements
    ]


def _keys_of_test(
    given: argparse.Namespace, keys: Sequence[MeasurementId], history: str
) -> tuple[MeasurementId, ...]:
    """The measurements of the one test whose node id is, or contains, the given text."""
    text = given.test
    tests = list(dict.fromkeys(key.test for key in keys))
    matching = [test for test in tests if test == text] or [test for test in tests if text in test]
    if len(matching) == 1:
        return tuple(key for key in keys if key.test == matching[0])
    listed = matching or difflib.get_close_matches(text, tests, n=_LISTED, cutoff=0.3) or tests
    hint = "\n  ".join(limited(listed, _LISTED))
    if matching:
        raise UsageError(f"{text!r:.200} is a part of {len(matching)} tests:", hint)
    filters = [
        f"{what} {value}"
        for what, value in (("on branch", given.branch), ("on machine class", given.machine))
        if value
    ]
    where = " ".join([history, *filters])
    if not tests:
        raise UsageError(f"nothing was measured in {where}", "run pytest, or name another history")
    raise UsageError(f"no test of {where} is called like {text!r:.200}; there are:", hint)


def _entries(reader: Reader, given: argparse.Namespace, test: str, name: str) -> tuple[Entry, ...]:
    """The newest runs on the given machine class, or else on that of the newest run."""
    machine = given.machine
    if machine is None:
        newest = Query(test=test, name=name, branch=given.branch, limit=1)
        machine = reader.history.entries(newest)[0].run.machine.slug
    return reader.history.entries(
        Query(test=test, name=name, branch=given.branch, machine=machine, limit=given.limit)
    )


def _company(reader: Reader, given: argparse.Namespace, test: str, machine: str) -> Company:
    """The other tests of a machine class, of many some that lie evenly among them."""
    query = Query(machine=machine, branch=given.branch)
    keys = [key for key in reader.history.measurements(query) if key.test != test]
    tests = list(dict.fromkeys(key.test for key in keys))
    every = max(1.0, len(tests) / _MOST_OTHERS)
    chosen = [tests[int(at * every)] for at in range(min(len(tests), _MOST_OTHERS))]
    return Company(
        {
            other: tuple(
                comparable_entries(
                    reader.history.entries(replace(query, test=other, name=name, limit=given.limit))
                )[0]
                for name in dict.fromkeys(key.name for key in keys if key.test == other)
            )
            for other in chosen
        }
    )


def _other_machines(keys: Sequence[MeasurementId], entries: Sequence[Entry]) -> Iterator[str]:
    newest = entries[-1]
    others = {key.machine.slug for key in keys if key.name == newest.name}
    others.discard(newest.run.machine.slug)
    if others:
        yield f"runs on {', '.join(sorted(others))} (--machine)"


def _lines(timelines: Sequence[Timeline], root: Path) -> Iterator[str]:
    def commits_between(good: str, bad: str) -> int | None:
        count = git(root, "rev-list", "--count", f"{good}..{bad}")
        return int(count) if count.isdecimal() else None

    for number, timeline in enumerate(timelines):
        if number:
            yield ""
        yield from history_lines(timeline, WIDTH, commits_between, colour=sys.stdout.isatty())


HISTORY: Final = Command(
    "history",
    "show a test over all its runs, and where its level changed",
    _arguments,
    _run,
)
