"""Basis: where baselines come from, and what can be done about them there, in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pytest_dlperf.errors import UsageError

_HISTORY: Final = "history:"
_BRANCH_POINT: Final = "merge-base"


@dataclass(frozen=True, slots=True)
class BaselineSource:
    """Where baselines come from.

    Attributes:
        in_history: whether they are sessions of the history; otherwise they are files.
        branch: whose sessions those are; empty takes the branch point's and its ancestors'.
    """

    in_history: bool = False
    branch: str = ""

    def __str__(self) -> str:
        return f"{_HISTORY}{self.branch or _BRANCH_POINT}" if self.in_history else "files"


FILES: Final = BaselineSource()
"""Baselines are files that were accepted."""


def parse_baseline_source(value: object, spelt: str) -> BaselineSource:
    """Read `files`, `history:BRANCH` or `history:merge-base`.

    Args:
        value: what was given.
        spelt: how the option is spelt there, for messages.

    Raises:
        UsageError: for anything else.
    """
    text = str(value)
    kind, colon, branch = text.partition(":")
    if text == str(FILES):
        return FILES
    # As far as git's own rules matter here: no option, nothing that cannot be seen.
    if kind + colon == _HISTORY and re.fullmatch(r"[^\s\x00-\x1f\x7f-][^\s\x00-\x1f\x7f]*", branch):
        return BaselineSource(in_history=True, branch="" if branch == _BRANCH_POINT else branch)
    raise UsageError(
        f"{spelt}={text!r:.80}",
        "expected files, history:BRANCH (history:main) or history:merge-base",
    )


@dataclass(frozen=True, slots=True)
class BaselineAdvice:
    """What can be done about a baseline, in words; that depends on where baselines come from.

    Attributes:
        record: how there comes to be one.
        complete: how it comes to have a metric that it lacks.
        accept: how other conditions become its own.
        grow: how it comes to have more sessions.
        ratchets: whether `--dlperf-update` can make a gain the new baseline.
    """

    record: str = "record a baseline with --dlperf-update=new"
    complete: str = "record a baseline with --dlperf-update=all"
    accept: str = "accept the new conditions with --dlperf-update=all"
    grow: str = "--dlperf-update=new adds one"
    ratchets: bool = True


OF_FILES: Final = BaselineAdvice()
"""What can be done where baselines are files."""


def advice_of_history(where: str, obstacle: str) -> BaselineAdvice:
    """What can be done where baselines are sessions of the history, which every run adds to.

    Args:
        where: what a run must measure to be one of them, such as `branch main`.
        obstacle: why this run is none of them; empty if it is one.
    """
    if not obstacle:
        told = "recorded in the history: the next run is compared with this one"
        return BaselineAdvice(told, told, told, "each run adds one")
    told = f"run it on {where} with the same --dlperf-history"
    return BaselineAdvice(told, told, told, f"each run on {where} adds one", ratchets=False)
