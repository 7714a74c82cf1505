"""Unused baselines, as pytest's summary and the program say them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from pytest_dlperf.report.budget_table import wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_dlperf.baselines.unused import Unused

_NAMED: Final = 5
PRUNE_COMMAND: Final = "pytest-dlperf baselines prune"


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
