"""The summary of a duel in the terminal."""

from __future__ import annotations

from dataclasses import replace

from pytest_dlperf.duel.questions import NOTHING
from pytest_dlperf.pytest_plugin.duel_controller import duel_lines

QUICK = replace(NOTHING, blocks=40, pairs=2, measuring=1.25)
CONFIRMED = replace(QUICK, fresh=3, measuring=4.5, starting=31.0)


def text(*duels: object, pairs: int = 2) -> str:
    """As one line."""
    lines = duel_lines(duels, against="HEAD~1", pairs=pairs, starting=9.64, seed=7)  # type: ignore[arg-type]  # all are DuelStatistics
    assert all(len(line) <= 80 for line in lines)
    return " ".join(line.strip() for line in lines if line)


def test_what_it_took() -> None:
    """The base, the pairs, the time to start and to measure, and the seed to see it again."""
    assert text(QUICK, QUICK) == (
        "against HEAD~1: 2 pairs of processes, started in 9.6 s; 2 measured in turn in 2.5 s; "
        "seed 7"
    )
    assert "1 pair of processes" in text(QUICK, pairs=1)


def test_confirmations_are_counted() -> None:
    """How many measurements were looked at again, with how many pairs, and what that cost."""
    summary = text(QUICK, CONFIRMED, CONFIRMED)

    assert "3 measured in turn in 10.2 s" in summary
    assert "looked at again on fresh processes: 2, with 6 pairs that took 62.0 s" in summary
    assert "looked at again" not in text(QUICK)
