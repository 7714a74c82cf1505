"""One session: a fresh pytest in the repository, and what can be read from what it leaves."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TIMEOUT_S: Final = 900
_STARTED: Final = re.compile(r"started in ([\d.]+) s")
_DUEL: Final = {
    "blocks": "blocks",
    "pairs": "pairs",
    "processors": "processors",
    "measuring_s": "measuring",
    "pairs_startup_s": "starting",
}


def session(
    tree: Path,
    base: str,
    arguments: Sequence[str],
    out: Path,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """Run pytest against the base; returns what it said, as fields of one line.

    Args:
        tree: the working tree, which shows the candidate.
        base: the base's commit.
        arguments: the file to run, and options.
        out: where the record goes; it is replaced.
        environment: of the processes.
    """
    out.unlink(missing_ok=True)
    # Without the cache a session knows nothing of those before it.
    command = [sys.executable, "-m", "pytest", *arguments, "-p", "no:cacheprovider"]
    command += [f"--dlperf-against={base}", f"--dlperf-json={out}"]
    load = os.getloadavg()[0]
    began = time.monotonic()
    code, text = finished(command, tree, environment)
    found: dict[str, Any] = {"exit": code, "wall_s": time.monotonic() - began, "load": load}
    started = _STARTED.search(" ".join(text.split()))
    found["startup_s"] = float(started[1]) if started else None
    found |= _judged(out, "accuracy" if "accuracy" in arguments[0] else "throughput")
    if found["verdict"] == "ERROR":
        found["said"] = text[-4000:]
    return found


def finished(command: list[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command to its end; returns its exit code and all that it printed."""
    process = subprocess.Popen(  # noqa: S603 - our own arguments
        command,
        cwd=folder,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        text, _ = process.communicate(timeout=_TIMEOUT_S)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        text, _ = process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        text += "\nended after the longest time that a session may take"
    return process.returncode, text


def _judged(out: Path, metric: str) -> dict[str, Any]:
    """Verdict and loss of the one budget that is asked for; ERROR if there is none."""
    nothing = dict.fromkeys(("loss", "low", "high", *_DUEL))
    measurements = json.loads(out.read_text())["measurements"] if out.exists() else []
    verdicts = [one for found in measurements for one in found["verdicts"]]
    asked = [one for one in verdicts if one["metric"] == metric]
    if not asked:
        return {"verdict": "ERROR", **nothing}
    judged = asked[0]
    invalid = measurements[0]["invalid"]
    duel = measurements[0]["duel"] or {}
    fields = {
        **nothing,
        "verdict": "INVALID" if invalid else judged["verdict"],
        "reason": invalid or judged["reason"],
        **{name: duel.get(there) for name, there in _DUEL.items()},
    }
    if change := judged["change"]:
        turned = _inverse if metric == "throughput" else float.__neg__
        ends = (change["value"], change["high"], change["low"])
        fields |= zip(("loss", "low", "high"), map(turned, ends), strict=True)
    return fields


def _inverse(ratio: float) -> float:
    """From requests a second to the time a request takes, a ratio minus one."""
    return 1 / ratio - 1 if ratio > 0 else math.inf
