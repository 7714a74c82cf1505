"""The story of the example project, again and again, and how often it ends as its README says.

    python benchmarks/story.py --folder FOLDER [--times 10] [--unchanged 20]

It takes an hour or more, and goes on where it was if it is started again with the same folder.
Each story begins with a copy of the example project that has no baselines.

- In a git repository: record and commit, make the model twelve times as wide (only the test of the
  64 clients may go red), far too narrow (only that of the accuracy), and then far too wide by an
  environment variable, which is no change of the code (nothing goes red, and the throughput is
  INCONCLUSIVE).
- In a folder without git: record, and both widths by the environment variable.

Then come runs of unchanged code in a repository, every second one beside a process that keeps a
processor busy: all must be green.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from busy import spinning
from live import lines
from live.sessions import finished

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLE: Final = Path(__file__).parents[1] / "example_project"
SETTINGS: Final = Path("digits_classifier", "settings.py")
TESTS: Final = "tests/test_performance.py"
FAST, RIGHT = "test_closed_loop", "test_accuracy"
WIDE, WIDEST, NARROW = 6144, 60_000, 2
FAILED: Final = re.compile(r"^(?:FAILED|ERROR) \S+::(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One run of the story, and what it has to show.

    Attributes:
        name: what has changed.
        red: tests that fail.
        units: width that is written to the settings.
        variable: width by the environment variable.
        verdict: of the throughput; anything if empty.
    """

    name: str
    red: frozenset[str]
    units: int = 512
    variable: int | None = None
    verdict: str = ""


IN_REPOSITORY: Final = (
    Step("repository, wider", frozenset({FAST}), units=WIDE, verdict="FAIL"),
    Step("repository, narrower", frozenset({RIGHT}), units=NARROW),
    Step("repository, variable", frozenset(), variable=WIDEST, verdict="INCONCLUSIVE"),
)
WITHOUT_GIT: Final = (
    Step("no repository, wider", frozenset({FAST}), variable=WIDEST, verdict="FAIL"),
    Step("no repository, narrower", frozenset({RIGHT}), variable=NARROW),
)
UNCHANGED: Final = Step("unchanged, quiet", frozenset())
DISTURBED: Final = Step("unchanged, busy", frozenset())


class Story:
    """A copy of the example project with a baseline of its own.

    Args:
        folder: where it is made.
        variables: of all processes.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        left = shutil.ignore_patterns("__pycache__", ".dlperf", ".pytest_cache", "*.egg-info")
        shutil.copytree(EXAMPLE, folder, ignore=left)
        self._folder = folder
        self._variables = variables

    def record(self) -> None:
        """Record the baseline; raises SystemExit if that fails."""
        code, text = self._pytest(["--dlperf-update=new"], {})
        if code:
            raise SystemExit(text)

    def record_in_repository(self) -> None:
        """Record the baseline of a commit, and commit the baseline."""
        self._git("init")
        self._commit("the example")
        self.record()
        self._commit("its baseline")

    def _commit(self, message: str) -> None:
        self._git("add", "--all")
        who = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
        self._git(*who, "commit", f"--message={message}")

    def _git(self, *arguments: str) -> None:
        command = ["git", *arguments]
        subprocess.run(command, cwd=self._folder, check=True, capture_output=True)  # noqa: S603

    def run(self, step: Step) -> dict[str, object]:
        """Run the tests of a step; returns the fields of its line."""
        settings = self._folder / SETTINGS
        before = settings.read_text()
        settings.write_text(before.replace("units: int = 512", f"units: int = {step.units}"))
        changed = {} if step.variable is None else {"DIGITS_UNITS": str(step.variable)}
        out = self._folder.with_suffix(".json")
        began = time.monotonic()
        code, text = self._pytest([f"--dlperf-json={out}"], changed)
        settings.write_text(before)
        red = set(FAILED.findall(text))
        verdict = _throughput(out)
        right = red == step.red and bool(code) == bool(red) and step.verdict in ("", verdict)
        found = {"step": step.name, "right": right, "red": sorted(red), "throughput": verdict}
        seconds = round(time.monotonic() - began, 1)
        return {**found, "seconds": seconds, **({} if right else {"said": text[-6000:]})}

    def _pytest(self, options: list[str], changed: Mapping[str, str]) -> tuple[int, str]:
        command = [sys.executable, "-m", "pytest", TESTS, "-rfE", *options]
        return finished(command, self._folder, {**self._variables, **changed})


def _throughput(out: Path) -> str:
    """The verdict on the throughput of the 64 clients."""
    verdicts = [
        verdict["verdict"]
        for measurement in json.loads(out.read_text())["measurements"]
        for verdict in measurement["verdicts"]
        if measurement["test"].endswith(FAST) and verdict["metric"] == "throughput"
    ]
    return verdicts[0] if verdicts else "none"


def _told(folder: Path, times: int, unchanged: int) -> Iterator[dict[str, object]]:
    """Run what is not in the folder yet; yields the fields of each line."""
    log = folder / "steps.jsonl"
    done = len(lines.read(log))
    # Not what this process was started with: the example is an ordinary project.
    variables = {**os.environ, "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    planned = [(steps, number) for number in range(times) for steps in (IN_REPOSITORY, WITHOUT_GIT)]
    for steps, number in planned:
        if done >= len(steps):
            done -= len(steps)
            continue
        done = 0
        story = Story(folder / f"{'git' if steps is IN_REPOSITORY else 'bare'}-{number}", variables)
        if steps is IN_REPOSITORY:
            story.record_in_repository()
        else:
            story.record()
        found = [story.run(step) for step in steps]
        for one in found:
            lines.append(log, one)
        yield from found
    if done >= unchanged or not unchanged:
        return
    story = Story(folder / "unchanged", variables)
    story.record_in_repository()
    for number in range(done, unchanged):
        step = DISTURBED if number % 2 else UNCHANGED
        with spinning(1) if number % 2 else contextlib.nullcontext():
            found = [story.run(step)]
        lines.append(log, found[0])
        yield from found


def main() -> None:
    """Run all, and show how often each step ended as it should."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--unchanged", type=int, default=20)
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for found in _told(folder, given.times, given.unchanged):
        print({name: found[name] for name in found if name != "said"}, flush=True)
    told = lines.read(folder / "steps.jsonl")
    print("step                      as the README says   seconds, median (longest)")
    for name in dict.fromkeys(one["step"] for one in told):
        steps = [one for one in told if one["step"] == name]
        seconds = sorted(one["seconds"] for one in steps)
        right = sum(one["right"] for one in steps)
        count = f"{right} of {len(steps)}"
        print(f"{name:<26}{count:<21}{seconds[len(seconds) // 2]:.0f} ({seconds[-1]:.0f})")


if __name__ == "__main__":
    main()
