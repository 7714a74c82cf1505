"""Git as the tests of duels use it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def git(folder: Path, *arguments: str) -> str:
    """The output of git, which takes no optional locks."""
    author = ("-c", "user.name=n", "-c", "user.email=e@e")
    done = subprocess.run(  # noqa: S603 - fixed arguments
        ["git", *author, *arguments],  # noqa: S607 - the git that is there
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
    )
    return done.stdout
