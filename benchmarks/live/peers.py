"""The rules of the peers, on one run of the base and one of the candidate after it.

Both are runs of pytest-benchmark, in processes of their own; together they may take as long as
the session of the duel took, start-up included. pytest-benchmark gives its own verdicts; asv's
and pyperf's rules are applied to the raw rounds, put together to as many values as these tools
have by default.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import stats

from live.sessions import finished

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from live.variants import Repository

RULES: Final = (
    "pytest-benchmark mean:5%",
    "pytest-benchmark median:5%",
    "asv continuous",
    "asv continuous --factor 1.05",
    "asv, factor 1.05 alone",
    "pyperf",
)

_LEAST_S: Final = 0.5
_ASV_VALUES: Final = 20  # 10 repeats in each of 2 rounds
_ASV_P: Final = 0.002
_ASV_FACTOR: Final = 1.1  # its default
_FIVE_PERCENT: Final = 1.05
_PYPERF_VALUES: Final = 60  # 3 values in each of 20 processes
_PYPERF_CONFIDENCE: Final = 0.95


class Peers:
    """Runs them.

    Args:
        repository: the project.
        folder: for what pytest-benchmark saves.
        environment: of the processes.
    """

    def __init__(
        self, repository: Repository, folder: Path, environment: Mapping[str, str]
    ) -> None:
        self._repository = repository
        self._folder = folder
        self._environment = environment
        self._startup_s = 6.0

    def judge(self, commit: str, seconds: float) -> dict[str, Any]:
        """Measure the base, then the commit, for so long in all; returns fields of one line."""
        if self._folder.exists():
            shutil.rmtree(self._folder)
        began = time.monotonic()
        self._repository.show(self._repository.base)
        self._run(seconds / 2, "--benchmark-save=base")
        self._repository.show(commit)
        code, said = self._run(
            seconds - (time.monotonic() - began),
            "--benchmark-save=candidate",
            "--benchmark-compare=0001",
            # Given twice, the option would keep the last one only.
            "--benchmark-compare-fail",
            "mean:5%",
            "median:5%",
        )
        wall = time.monotonic() - began
        saved = sorted(self._folder.rglob("*.json"))
        if len(saved) != 2:  # noqa: PLR2004 - base and candidate
            return {"failed": {}, "wall_s": wall, "exit": code, "said": said[-2000:]}
        base, candidate = map(_rounds, saved)
        failed = {
            f"pytest-benchmark {field}:5%": f"Field '{field}' has failed" in said
            for field in ("mean", "median")
        }
        failed |= _rules(base, candidate)
        return {
            "failed": failed,
            "wall_s": wall,
            "exit": code,
            "rounds": [len(base), len(candidate)],
            "mean_loss": float(candidate.mean() / base.mean() - 1),
            "median_loss": float(np.median(candidate) / np.median(base) - 1),
        }

    def _run(self, seconds: float, *options: str) -> tuple[int, str]:
        measuring = max(_LEAST_S, seconds - self._startup_s)
        command = [sys.executable, "-m", "pytest", "bench_speed.py", "-p", "no:cacheprovider"]
        command += ["-p", "no:dlperf", f"--benchmark-max-time={measuring:.2f}"]
        command += ["--benchmark-save-data", f"--benchmark-storage=file://{self._folder}"]
        began = time.monotonic()
        code, said = finished([*command, *options], self._repository.tree, self._environment)
        found = re.search(r"passed in ([\d.]+)", said)
        wall = time.monotonic() - began
        if found:
            self._startup_s = max(1.0, wall - measuring)
        return code, said


def _rounds(saved: Path) -> NDArray[np.float64]:
    """Seconds of each round in the order of time."""
    return np.array(json.loads(saved.read_text())["benchmarks"][0]["stats"]["data"])


def _rules(base: NDArray[np.float64], candidate: NDArray[np.float64]) -> dict[str, bool]:
    """Whether each rule says that the candidate is slower."""
    before, after = _values(base, _ASV_VALUES), _values(candidate, _ASV_VALUES)
    p = float(stats.mannwhitneyu(before, after, alternative="two-sided").pvalue)
    ratio = float(np.median(after) / np.median(before))
    found = {
        "asv continuous": p < _ASV_P and ratio > _ASV_FACTOR,
        "asv continuous --factor 1.05": p < _ASV_P and ratio > _FIVE_PERCENT,
        "asv, factor 1.05 alone": ratio > _FIVE_PERCENT,
    }
    before, after = _values(base, _PYPERF_VALUES), _values(candidate, _PYPERF_VALUES)
    different = stats.ttest_ind(before, after).pvalue < 1 - _PYPERF_CONFIDENCE
    found["pyperf"] = bool(different and after.mean() > before.mean())
    return {rule: bool(says) for rule, says in found.items()}


def _values(rounds: NDArray[np.float64], wanted: int) -> NDArray[np.float64]:
    """Means of stretches of equal length, shape `(wanted,)`, fewer if there are fewer rounds."""
    return np.array([part.mean() for part in np.array_split(rounds, min(wanted, len(rounds)))])
