"""Medians and ranges over the rounds, in one line of a table."""

from __future__ import annotations

import importlib.util
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def spread(values: Sequence[float], form: str) -> str:
    """Median and range, each as `form` says: `1.2 (0.9 to 1.4)`."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def ratios(ours: Sequence[float], theirs: Sequence[float], form: str) -> str:
    """Ours over theirs, round by round; "-" where theirs is nothing."""
    if not all(theirs):
        return "-"
    return spread([mine / other for mine, other in zip(ours, theirs, strict=True)], form)


def line(*cells: str) -> None:
    """Print one line: a label and columns."""
    print(f"  {cells[0]:<18}" + "".join(f"  {cell:>30}" for cell in cells[1:]), flush=True)


def installed(module: str) -> bool:
    """Whether a peer can be measured here."""
    return importlib.util.find_spec(module) is not None
