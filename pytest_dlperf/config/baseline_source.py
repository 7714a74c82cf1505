"""Where baselines come from: files, or sessions of the history."""

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
        branch: whose sessions those are; empty for those of the branch point and its ancestors.
    """

    in_history: bool = False
    branch: str = ""

    def __str__(self) -> str:
        return f"{_HISTORY}{self.branch or _BRANCH_POINT}" if self.in_history else "files"


FILES: Final = BaselineSource()
"""Baselines are files that were accepted."""


def parse_baseline_source(value: object, spelt: str) -> BaselineSource:
    """Read `files`, `history:BRANCH` or `history:merge-base`; `spelt` is the option, for messages.

    Raises:
        UsageError: for anything else.
    """
    text = str(value)
    kind, colon, branch = text.partition(":")
    if text == str(FILES):
        return FILES
    # Of git's rules for names only what matters here: not like an option, nothing invisible.
    if kind + colon == _HISTORY and re.fullmatch(r"[^\s\x00-\x1f\x7f-][^\s\x00-\x1f\x7f]*", branch):
        return BaselineSource(in_history=True, branch="" if branch == _BRANCH_POINT else branch)
    raise UsageError(
        f"{spelt}={text!r:.80}",
        "expected files, history:BRANCH (history:main) or history:merge-base",
    )
