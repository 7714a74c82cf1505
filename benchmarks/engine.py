"""The load engine against its peers, line by line, in one run.

Every run of every peer has a process of its own; the peers take turns, round by round, and each
figure is the median over the rounds with its range. Compare ratios, not absolute values.

    python benchmarks/engine.py [--lines rates costs model theory] [--seconds 1] [--rounds 3]

A peer that is not installed (extra `bench`) is left out.
"""

from __future__ import annotations

import argparse

from empty_target import costs, rates
from queueing import against_theory
from reference_line import shares

LINES = ("rates", "costs", "model", "theory")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", nargs="+", choices=LINES, default=LINES)
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="of the shortest runs; some lines need longer"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--service-ms", type=float, default=10.0, help="service time of the target in line theory"
    )
    given = parser.parse_args()
    seconds, rounds = given.seconds, given.rounds
    measures = {
        "rates": lambda: rates(seconds, rounds),
        "costs": lambda: costs(2 * seconds, rounds),
        "model": lambda: shares(3 * seconds, rounds),
        "theory": lambda: against_theory(seconds, rounds, given.service_ms * 1e-3),
    }
    for name in given.lines:
        measures[name]()
        print()


if __name__ == "__main__":
    main()
