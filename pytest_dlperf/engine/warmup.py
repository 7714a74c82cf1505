"""Warm-up: run the same load until its speed settles, before anything is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOWS: Final = 8
SETTLED: Final = 3
_SPREAD: Final = 1.1


def warm_up(window: Callable[[], float]) -> str:
    """Run windows until the speeds of three in a row are within 10 %, eight at the most.

    Args:
        window: runs one and returns its speed, requests a second.

    Returns:
        A note if it did not settle, else an empty text.
    """
    speeds: list[float] = []
    for _ in range(WINDOWS):
        speeds.append(window())
        last = speeds[-SETTLED:]
        if len(last) == SETTLED and max(last) <= _SPREAD * min(last):
            return ""
    low, high = min(speeds[-SETTLED:]), max(speeds[-SETTLED:])
    return f"still unsteady after the warm-up: {low:,.0f} to {high:,.0f} requests/s"
