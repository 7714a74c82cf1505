"""The tables that a run prints: verdicts by what was planted, the peers', and what was missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import stats

from live import lines
from live.calibration import truths
from live.peers import RULES
from live.variants import FINE, SAME, SAME_FINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from live.calibration import Truth

_VERDICTS: Final = ("FAIL", "PASS", "INCONCLUSIVE", "INVALID")
_PLANTED: Final = " 5 %"
_ALL_PLANTED: Final = "all planted as 5 %"

Row = dict[str, Any]


def report(folder: Path) -> None:
    """Print what is in the files of a run, finished or not."""
    kept = truths(folder / "calibration.jsonl")
    kept |= {name.split("/")[0]: truth for name, truth in kept.items()}
    labels = {one["session"]: one["label"] for one in lines.read(folder / "labels.jsonl")}
    rows = [
        {**one, "label": labels[one["session"]].split("/")[0]}
        for one in lines.read(folder / "verdicts.jsonl")
        if one["session"] in labels
    ]
    peers = {one["session"]: one for one in lines.read(folder / "peers.jsonl")}
    print(f"{len(rows)} sessions, {len(peers)} of them with the peers\n")
    for name, busy in (("on a quiet machine", False), ("beside a busy process", True)):
        if some := [row for row in rows if row.get("busy", False) is busy]:
            print(f"{name}, {len(some)} sessions")
            _verdicts(some, kept)
            _times(some)
            print()
    _peers(rows, peers)
    _wrong(rows)
    _goals(rows)


def _groups(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Sessions by label, and those of 5 % together."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["label"], []).append(row)
    planted = [row for row in rows if row["label"].endswith(_PLANTED)]
    order = [SAME] if SAME in found else []
    order += sorted((one for one in found if one != SAME), key=_size)
    groups = [(name, found[name]) for name in order]
    return [*groups, (_ALL_PLANTED, planted)] if planted else groups


def _size(label: str) -> tuple[bool, int, str]:
    number = next((word for word in label.split() if word.isdigit()), "0")
    return "accuracy" in label, int(number), label


def _verdicts(rows: Sequence[Row], kept: Mapping[str, Truth]) -> None:
    print(
        f"{'what was planted':20} {'true loss (95 %)':26} {'as found':>8}     n  FAIL PASS "
        "INC. INV. ERR.  FAIL rate (95 %)"
    )
    for name, group in _groups(rows):
        count = {verdict: sum(row["verdict"] == verdict for row in group) for verdict in _VERDICTS}
        others = len(group) - sum(count.values())
        known = kept.get(name)
        loss = f"{known.loss:.2%} ({known.low:.2%} to {known.high:.2%})" if known else ""
        print(
            f"{name:20} {loss:26} {_found(group):>8} {len(group):5}  "
            + " ".join(f"{count[verdict]:4}" for verdict in _VERDICTS)
            + f" {others:4}  {rate(count['FAIL'], len(group))}"
        )


def _found(rows: Sequence[Row]) -> str:
    """Median of the losses that the sessions themselves found."""
    losses = [row["loss"] for row in rows if row["loss"] is not None]
    return f"{np.median(losses):.2%}" if losses else "-"


def rate(found: int, of: int) -> str:
    """A share with its exact 95 % interval (Clopper and Pearson 1934)."""
    if not of:
        return "-"
    ends = stats.binomtest(found, of).proportion_ci(0.95, method="exact")
    return f"{found / of:.1%} ({ends.low:.1%} to {ends.high:.1%})"


def _times(rows: Sequence[Row]) -> None:
    print("\nseconds, median (p90)   measuring         start-up          wall          pairs")
    for name, group in _groups(rows):
        print(
            f"{name:22} {_spread(group, lambda row: row['measuring_s']):17} "
            f"{_spread(group, _startup):17} {_spread(group, lambda row: row['wall_s']):17} "
            f"{_spread(group, lambda row: row['pairs'], '.0f')}"
        )


def _startup(row: Row) -> float | None:
    """Of the first pair, and of all further ones."""
    first = row["startup_s"]
    return None if first is None else float(first) + (row["pairs_startup_s"] or 0.0)


def _spread(rows: Iterable[Row], value: Callable[[Row], float | None], form: str = ".1f") -> str:
    found = [one for one in map(value, rows) if one is not None]
    if not found:
        return "-"
    return f"{np.median(found):{form}} ({np.percentile(found, 90):{form}})"


def _peers(rows: Sequence[Row], peers: Mapping[int, Row]) -> None:
    """Who calls how many of the same sessions slower."""
    shared = [row for row in rows if peers.get(row["session"], {}).get("failed")]
    if not shared:
        return
    groups = {name: group for name, group in _groups(shared) if _all_of(name)}
    print("\ncalled slower, on the sessions that the peers had too, at equal wall time")
    print(f"{'':30}" + "".join(f"{name:>29}" for name in groups))
    for rule in ("dlperf", *RULES):
        cells = []
        for group in groups.values():
            found = sum(
                row["verdict"] == "FAIL"
                if rule == "dlperf"
                else peers[row["session"]]["failed"][rule]
                for row in group
            )
            cells.append(f"{found}/{len(group)} {rate(found, len(group))}")
        print(f"{rule:30}" + "".join(f"{cell:>29}" for cell in cells))
    wall = [(peers[row["session"]]["wall_s"], row["wall_s"]) for row in shared]
    ours, theirs = (float(np.median([pair[who] for pair in wall])) for who in (1, 0))
    print(f"median wall time: dlperf {ours:.1f} s, peers {theirs:.1f} s")


def _all_of(name: str) -> bool:
    """Whether a group is not one of those that another one has all of."""
    return name == _ALL_PLANTED or not name.endswith(_PLANTED)


def _wrong(rows: Sequence[Row]) -> None:
    """False alarms, and planted losses that were not called a FAIL."""
    print("\nfalse alarms, and losses that were not found")
    for row in rows:
        same = row["label"].startswith(SAME)
        if (row["verdict"] == "FAIL") == same or (same and row["verdict"] != "PASS"):
            loss = "-"
            if row["loss"] is not None:
                loss = f"{row['loss']:.2%} ({row['low']:.2%} to {row['high']:.2%})"
            print(
                f"  session {row['session']:3} {row['label']:18} {row['verdict']:12} {loss} "
                f"{row['blocks'] or 0:.0f} blocks of {row['pairs'] or 0:.0f} pairs, "
                f"load {row['load']:.1f} {row.get('reason') or ''}"
            )


def _goals(rows: Sequence[Row]) -> None:
    groups = dict(_groups(rows))
    same, planted = groups.get(SAME, []), groups.get(_ALL_PLANTED, [])
    alarms, found = (sum(row["verdict"] == "FAIL" for row in group) for group in (same, planted))
    print(
        f"\nfalse FAILs: {alarms} of {len(same)} (goal: at most 1 of 300)\n"
        f"losses of 5 % found: {found} of {len(planted)} (goal: 118 of 120)"
    )
    fine = [row for row in rows if row["label"].endswith(FINE) and row["label"] != SAME_FINE]
    print(f"losses of 3 % found: {sum(row['verdict'] == 'FAIL' for row in fine)} of {len(fine)}")
    for name, group, goal in (("unchanged code", same, 9), ("losses of 5 %", planted, 15)):
        if group:
            wall = np.median([row["wall_s"] for row in group])
            still = sum(row["verdict"] == "INCONCLUSIVE" for row in group)
            print(
                f"{name}: median wall time {wall:.1f} s (goal: {goal} s), "
                f"INCONCLUSIVE {still / len(group):.1%} (goal: at most 3 %)"
            )
