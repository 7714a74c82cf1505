"""The project that is measured, as a git repository with a commit for each variant of it.

Variants differ in `settings.py` only. Their commits say nothing about what they are.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PROJECT: Final = Path(__file__).with_name("project")

SAME: Final = "same"
SAME_ACCURACY: Final = "same accuracy"
FINE: Final = " 3 %"
"""Ends the names of variants of sessions that are to find a loss of 3 %."""
SAME_FINE: Final = f"{SAME} to{FINE}"

_KNOBS: Final = {
    "width": ("UNITS",),
    "calls": ("EXTRA_CALLS",),
    "preprocessing": ("CHECKED",),
    "accuracy": ("NOISE", "NOISE_SEED"),
}


@dataclass(frozen=True, slots=True)
class Plant:
    """A loss that is built in.

    Attributes:
        kind: what makes it: `width`, `calls`, `preprocessing` or `accuracy`.
        percent: how much more time a request takes; for accuracy, points.
        number: one of several of the kind, each at other places; the others have one only.
    """

    kind: str
    percent: int
    number: int = 0

    def __str__(self) -> str:
        if self.kind == "accuracy":
            return f"accuracy {self.percent} pt/{self.number}"
        return f"{self.kind} {self.percent} %"

    @classmethod
    def named(cls, name: str) -> Plant:
        """The one with this name."""
        kind, percent, unit = name.split()
        return cls(kind, int(percent), int(unit.partition("/")[2] or 0))


class Repository:
    """The repository, and a working tree that shows one commit at a time.

    Args:
        folder: where it is, or will be.
    """

    def __init__(self, folder: Path) -> None:
        self.tree = folder
        if not (folder / ".git").exists():
            shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
            self._git("init", "--quiet")
            self._commit("refs/heads/start")
        self.base = self._git("rev-parse", "refs/heads/start")

    def same(self) -> str:
        """The commit of a change that is a comment and nothing else."""
        return self._variant(lambda text: text + "\n# Read by the other modules.\n")

    def planted(self, kind: str, *knobs: float) -> str:
        """The commit of a variant.

        Args:
            kind: what is planted.
            knobs: units, share of the batches, pixels, or noise and its seed, as the kind has it.
        """
        return self._variant(
            lambda text: _turned(text, dict(zip(_KNOBS[kind], knobs, strict=True)))
        )

    def show(self, commit: str) -> None:
        """Have the working tree be this commit, and nothing else."""
        self._git("checkout", "--quiet", "--detach", "--force", commit)
        self._git("clean", "--quiet", "-xdff")

    def copy(self, commit: str, folder: Path) -> None:
        """The files of a commit in a folder of their own."""
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        self.show(commit)
        for file in self.tree.iterdir():
            if file.is_file():
                shutil.copy(file, folder)

    def _variant(self, changed: Callable[[str], str]) -> str:
        self.show(self.base)
        settings = self.tree / "settings.py"
        settings.write_text(changed(settings.read_text()))
        return self._commit(None)

    def _commit(self, ref: str | None) -> str:
        self._git("add", "--all")
        who = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
        self._git(*who, "commit", "--quiet", "--allow-empty", "--message=change")
        commit = self._git("rev-parse", "HEAD")
        self._git("update-ref", ref or f"refs/heads/{commit}", commit)
        return commit

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own arguments
            ["git", *arguments],  # noqa: S607 - the user's git
            cwd=self.tree,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()


def _turned(text: str, knobs: Mapping[str, float]) -> str:
    for name, value in knobs.items():
        text, places = re.subn(rf"^{name} = .*$", f"{name} = {value!r}", text, flags=re.MULTILINE)
        if places != 1:
            raise ValueError(f"settings.py sets {name} {places} times, not once")
    return text
