"""Unused baselines: those whose test is not there any more, and what it may be called now."""

from __future__ import annotations

import difflib
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.report.budget_table import wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


_ALIKE: Final = 0.6
"""From this share of equal text on two node ids look like one test."""

_MOST_PAIRS: Final = 5000  # half a second

_DEVICE: Final = re.compile(r"(?:cpu|gpu):\d+")


_NAMED: Final = 5
PRUNE_COMMAND: Final = "pytest-dlperf baselines prune"


@dataclass(frozen=True, slots=True)
class Collected:
    """What a whole collection of a project's tests found.

    Attributes:
        tests: node ids of all tests.
        modules: node ids of all files that were looked into without trouble. A test of another
            file may still be there: that file was skipped, or is not collected unless it is named.
    """

    tests: frozenset[str]
    modules: frozenset[str]


@dataclass(frozen=True, slots=True)
class Unused:
    """A baseline whose test is not there.

    Attributes:
        test: its node id.
        renamed: the test that it looks to be now; empty if there is none.
    """

    test: str
    renamed: str = ""


def not_there(
    tests: Iterable[str], collected: Collected, absent: frozenset[str]
) -> tuple[str, ...]:
    """Those of some tests that are not there any more, in order.

    A test counts as there while it is on any device (`test_x[cpu:0]`) or on none: which devices
    tests run on is said when pytest is started.

    Args:
        tests: node ids.
        collected: what is there.
        absent: files of tests that are not there at all.
    """
    anywhere = frozenset(map(_anywhere, collected.tests))

    def is_there(test: str) -> bool:
        file = test.partition("::")[0]
        if file not in absent and file not in collected.modules:
            return True
        return _anywhere(test) in anywhere

    return tuple(test for test in sorted(set(tests)) if not is_there(test))


def _anywhere(test: str) -> str:
    """A test's node id without the device that it runs on."""
    name, bracket, parameters = test.partition("[")
    parts = parameters.removesuffix("]").split("-")
    kept = [part for part in parts if not _DEVICE.fullmatch(part)]
    if not bracket or len(kept) == len(parts):
        return test
    return f"{name}[{'-'.join(kept)}]" if kept else name


def with_new_names(
    unused: Mapping[str, frozenset[str]], fresh: Mapping[str, frozenset[str] | None]
) -> tuple[Unused, ...]:
    """Guess which tests without a baseline are those whose baselines are unused.

    They must have measurements of the same names. The most alike are paired first, and no test is
    taken for two. How alike two node ids are is `difflib`'s ratio: twice the characters in common
    over those of both. Where there are very many, nothing is guessed.

    Args:
        unused: node ids of tests that are not there, with the names of their measurements.
        fresh: node ids of tests that have no baseline, with those names; None if not known.
    """
    if len(unused) * len(fresh) > _MOST_PAIRS:
        fresh = {}
    pairs = (
        (_likeness(old, new), old, new)
        for old, names in unused.items()
        for new, found in fresh.items()
        if found is None or found == names
    )
    renamed: dict[str, str] = {}
    for likeness, old, new in sorted(pairs, key=lambda pair: (-pair[0], pair[1:])):
        if likeness >= _ALIKE and old not in renamed and new not in renamed.values():
            renamed[old] = new
    return tuple(Unused(test, renamed.get(test, "")) for test in sorted(unused))


def nearest_names(test: str, known: Iterable[str]) -> list[str]:
    """The known tests that are most like one that is not known, at most three."""
    return difflib.get_close_matches(test, sorted(set(known)), cutoff=_ALIKE)


def _likeness(old: str, new: str) -> float:
    return difflib.SequenceMatcher(None, old, new, autojunk=False).ratio()


def rename_command(unused: Unused) -> str:
    """How a baseline becomes that of the test that it looks to be."""
    return (
        f"pytest-dlperf baselines rename {shlex.quote(unused.test)} {shlex.quote(unused.renamed)}"
    )


def unused_lines(unused: Sequence[Unused]) -> list[str]:
    """Which baselines are unused, those that look renamed first, and what to do about them.

    Commands are lines of their own and stay whole, so that they can be copied.
    """
    if not unused:
        return []
    baselines = "1 baseline" if len(unused) == 1 else f"{len(unused)} baselines"
    lines = ["", *wrapped(f"{baselines} of tests that were not collected:")]
    ordered = sorted(unused, key=lambda one: not one.renamed)
    for one in ordered[:_NAMED]:
        lines.append(f"  {one.test}")
        if one.renamed:
            lines += ["    looks renamed:", f"    {rename_command(one)}"]
    if len(unused) > _NAMED:
        lines.append(f"  and {len(unused) - _NAMED} more")
    return [*lines, *wrapped(f"{PRUNE_COMMAND} removes what is not needed any more")]
