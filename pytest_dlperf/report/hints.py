"""Hints: what users can do, with an option or a command of ours, for errors, notes and reports.

Constants are clauses: the sentence is where the error is raised.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.report.tables import limited

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

COMPARE_WITH_FILES: Final = "compare with files: --dlperf-baseline=files"
COMPARE_WITH_BRANCH: Final = "compare with what a branch measured: --dlperf-baseline=history:BRANCH"

NAME_ANOTHER_HISTORY: Final = "name another: --dlperf-history=URL"
COMPARABLE: Final = "a commit, a branch, a file of --dlperf-json, or latest"
MEASURE_COMPARABLY: Final = "run pytest --dlperf-json without --dlperf-quick and --dlperf-against"

ASK_FOR_DEVICES: Final = "ask for it with --dlperf-devices or the marker's devices="

RECORD_ANEW: Final = "record anew (--dlperf-update=new)"
RESOLVE_CONFLICT: Final = (
    'keep the entries of both sides in "sessions", the older ones first, or take one side (git '
    "checkout --ours or --theirs, and its path) and record the other's session again "
    "(--dlperf-update=new)"
)
PRUNE_COMMAND: Final = "pytest-dlperf baselines prune"
REVIEW_COMMAND: Final = "pytest-dlperf baselines review"

PLACE_ANEW: Final = (
    "compare commits with --dlperf-against, or pass what can be copied: a Keras model with "
    "get_config(), or a callable that holds its arrays and models itself"
)

INSTALL_EACH_SIDE: Final = (
    'give each side an environment of its own: --dlperf-against-install="pip install -e ."'
)
CHANGE_INSTALL: Final = "change the command of --dlperf-against-install"
CARRY: Final = "--dlperf-against-carry"
BUILD_EACH_SIDE: Final = (
    'it is made by a build: build each side: --dlperf-against-install="pip install -e ."'
)
NAME_ROOT: Final = "--rootdir"
NAME_PYTHON: Final = (
    "--dlperf-against-python= is the path of a Python, such as .venv-base/bin/python"
)


@dataclass(frozen=True, slots=True)
class BaselineAdvice:
    """What to do about a baseline; it depends on where baselines come from.

    Attributes:
        record: how to get one.
        complete: how to add a metric that it lacks.
        accept: how to make other conditions its own.
        grow: how it gets more sessions.
        ratchets: whether `--dlperf-update` can make a gain the new baseline.
    """

    record: str = "record a baseline with --dlperf-update=new"
    complete: str = "record a baseline with --dlperf-update=all"
    accept: str = "accept the new conditions with --dlperf-update=all"
    grow: str = "--dlperf-update=new adds one"
    ratchets: bool = True


OF_FILES: Final = BaselineAdvice()
"""Where baselines are files."""


def advice_of_history(where: str, obstacle: str) -> BaselineAdvice:
    """Where baselines are sessions of the history, which every run adds to.

    Args:
        where: what a run must measure to be one of them, such as `branch main`.
        obstacle: why this run is none of them; empty if it is one.
    """
    if not obstacle:
        recorded = "recorded in the history: the next run is compared with this one"
        return BaselineAdvice(recorded, recorded, recorded, "each run adds one")
    elsewhere = f"run it on {where} with the same --dlperf-history"
    return BaselineAdvice(
        elsewhere, elsewhere, elsewhere, f"each run on {where} adds one", ratchets=False
    )


def carry_along(paths: Iterable[str]) -> str:
    """How to bring files along that the base lacks."""
    return "bring it along: " + " ".join(shlex.quote(f"{CARRY}={path}") for path in paths)


def without_untracked(paths: Sequence[str]) -> str:
    """That the base was measured without some files, and how to bring them along."""
    shown, remedy = ", ".join(limited(paths, 3)), carry_along(paths[:1])
    return f"without {shown}, which git does not track; if a test reads it, {remedy}"


GO_ON_WITHOUT_BASE: Final = "leave the comparison open: add --dlperf-base-broken=warn"


def update_has_no_effect(obstacle: str) -> str:
    """That `--dlperf-update` was given in vain."""
    return f"--dlperf-update changes nothing: {obstacle}"


def record_again(caution: str) -> str:
    """What to do about a baseline that was recorded on a busy machine."""
    return f"{caution}; record it again when it is quiet: --dlperf-update=all"


def hold_gain(metrics: str, test: str) -> str:
    """How to make a gain the new baseline."""
    command = f"pytest {shlex.quote(test)} --dlperf-update=improved"
    return f"better than the baseline ({metrics}): hold it with\n{command}"


def measure_in_turn(commit: str) -> str:
    """How to settle a verdict that noise left open."""
    return f"measure both commits in turn: --dlperf-against={commit[:8]}"


def settle_suspicion(test: str) -> str:
    """How to have a suspected loss looked at again, where no commit can be measured in turn."""
    command = f"pytest {shlex.quote(test)} --dlperf-escalate=auto"
    return f"look at the suspected loss again, in a fresh process:\n{command}"


def look_into_loss(loss: str, test: str, name: str) -> str:
    """How to find a gradual loss in the history, or accept it; each command on its own line."""
    quoted = shlex.quote(test)
    named = f" --name {shlex.quote(name)}" if name else ""
    return (
        f"{loss}: look for where it came from, or accept it by moving the anchor:\n"
        f"pytest-dlperf history {quoted}\n"
        f"pytest-dlperf baselines anchor {quoted}{named}"
    )


def rename_command(old: str, new: str) -> str:
    """The command that gives a baseline to the test of the new name."""
    return f"pytest-dlperf baselines rename {shlex.quote(old)} {shlex.quote(new)}"


def time_for_loss(seconds: float, loss: str) -> str:
    """How long a duel must be allowed to take to find a loss."""
    return f"--dlperf-budget-time={math.ceil(seconds)}s finds a loss of {loss}"


def judge_alone(test: str, budget: str) -> Iterator[str]:
    """Arguments of pytest, as lines of a command, that hold a test to an absolute budget."""
    yield shlex.quote(test)
    yield shlex.quote(f"--dlperf-budgets={budget}")


def judge_in_turn(test: str, commit: str, budget: str, detect: str) -> Iterator[str]:
    """Arguments of pytest, as lines of a command, that compare a test with a commit.

    Args:
        test: pytest's node id.
        commit: the base.
        budget: relative to it.
        detect: the loss that must be found; empty for the default.
    """
    yield f"{shlex.quote(test)} --dlperf-against={commit}"
    yield shlex.quote(f"--dlperf-budgets={budget}")
    if detect:
        yield shlex.quote(f"--dlperf-detect={detect}")
