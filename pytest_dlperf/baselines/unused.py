"""Unused baselines: those whose test no longer exists, and its likely new name."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.report.hints import PRUNE_COMMAND, rename_command
from pytest_dlperf.report.tables import limited, wrap_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


_ALIKE: Final = 0.6  # share of equal text from which two node ids look like one test
_MOST_PAIRS: Final = 5000  # comparing them takes half a second
_NAMED: Final = 5  # unused baselines that a report names
_DEVICE: Final = re.compile(r"(?:cpu|gpu):\d+")


@dataclass(frozen=True, slots=True)
class Collected:
    """A complete collection of a project's tests.

    Attributes:
        tests: node ids of all tests.
        modules: node ids of all files that were collected without errors. A test of another
            file may still exist: that file was skipped, or is collected only if named.
    """

    tests: frozenset[str]
    modules: frozenset[str]


@dataclass(frozen=True, slots=True)
class Unused:
    """A baseline whose test does not exist.

    Attributes:
        test: its node id.
        renamed: the likely new node id; may be empty.
    """

    test: str
    renamed: str = ""


def not_there(
    tests: Iterable[str], collected: Collected, absent: frozenset[str]
) -> tuple[str, ...]:
    """The tests that no longer exist, in order.

    A test exists if it does on any device (`test_x[cpu:0]`) or without one, since devices are
    chosen on pytest's command line. `absent` are test files that do not exist at all.
    """
    anywhere = frozenset(map(_anywhere, collected.tests))

    def exists(test: str) -> bool:
        file = test.partition("::")[0]
        if file not in absent and file not in collected.modules:
            return True
        return _anywhere(test) in anywhere

    return tuple(test for test in sorted(set(tests)) if not exists(test))


def _anywhere(test: str) -> str:
    """A test's node id without its device."""
    name, bracket, parameters = test.partition("[")
    parts = parameters.removesuffix("]").split("-")
    kept = [part for part in parts if not _DEVICE.fullmatch(part)]
    if not bracket or len(kept) == len(parts):
        return test
    return f"{name}[{'-'.join(kept)}]" if kept else name


def with_new_names(
    unused: Mapping[str, frozenset[str]], fresh: Mapping[str, frozenset[str] | None]
) -> tuple[Unused, ...]:
    """Guess the new names of tests whose baselines are unused.

    Candidates have no baseline, and measurements of the same names. The most similar are paired
    first, by `difflib`'s ratio: twice the characters in common over those of both. With very many
    pairs nothing is guessed.

    Args:
        unused: node ids of tests that do not exist, with the names of their measurements.
        fresh: node ids of tests without a baseline, likewise; None for unknown names.
    """
    if len(unused) * len(fresh) > _MOST_PAIRS:
        fresh = {}
    pairs = (
        (_likeness(old, new), old, new)
        for old, names in unused.items()
        for new, measured in fresh.items()
        if measured is None or measured == names
    )
    renamed: dict[str, str] = {}
    for likeness, old, new in sorted(pairs, key=lambda pair: (-pair[0], pair[1:])):
        if likeness >= _ALIKE and old not in renamed and new not in renamed.values():
            renamed[old] = new
    return tuple(Unused(test, renamed.get(test, "")) for test in sorted(unused))


def nearest_names(test: str, known: Iterable[str]) -> list[str]:
    """The known tests most similar to an unknown one, at most three."""
    return difflib.get_close_matches(test, sorted(set(known)), cutoff=_ALIKE)


def _likeness(old: str, new: str) -> float:
    return difflib.SequenceMatcher(None, old, new, autojunk=False).ratio()


def unused_lines(unused: Sequence[Unused]) -> list[str]:
    """The unused baselines, those that look renamed first, and the commands that help.

    Commands are on lines of their own and not wrapped, so that they can be copied.
    """
    if not unused:
        return []
    baselines = "1 baseline" if len(unused) == 1 else f"{len(unused)} baselines"
    ordered = sorted(unused, key=lambda baseline: not baseline.renamed)
    blocks = [
        f"{each.test}\n  looks renamed:\n  {rename_command(each.test, each.renamed)}"
        if each.renamed
        else each.test
        for each in ordered
    ]
    return [
        "",
        *wrap_message(f"{baselines} of tests that were not collected:"),
        *(f"  {line}" for block in limited(blocks, _NAMED) for line in block.split("\n")),
        *wrap_message(f"{PRUNE_COMMAND} removes what is not needed any more"),
    ]
