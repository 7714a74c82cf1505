"""Duel: what the terminal says of a whole duel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_dlperf.report.budget_table import wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_dlperf.duel.questions import Course


def duel_lines(
    courses: Sequence[Course], *, against: str, pairs: int, starting: float, seed: int
) -> list[str]:
    """What was compared, how long that took, and how often a FAIL had to be again.

    Args:
        courses: how each measurement's contest went.
        against: the base, as the user calls it.
        pairs: of processes that were started together.
        starting: seconds until they had collected the tests.
        seed: of the coins.
    """
    measuring = sum(course.measuring for course in courses)
    again = [course for course in courses if course.fresh]
    lines = wrapped(
        f"against {against}: {pairs} pair{'s' if pairs > 1 else ''} of processes, started in "
        f"{starting:.1f} s; {len(courses)} measured in turn in {measuring:.1f} s; seed {seed}"
    )
    if again:
        fresh = sum(course.fresh for course in again)
        seconds = sum(course.starting for course in again)
        lines += wrapped(
            f"looked at again on fresh processes: {len(again)}, with {fresh} pairs that took "
            f"{seconds:.1f} s to start"
        )
    return ["", *lines]
