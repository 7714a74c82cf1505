"""Virtual environments for the sides of a duel, where the project must be installed to run."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shlex
import shutil
import site
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import UsageError
from pytest_dlperf.report.hints import CHANGE_INSTALL, NAME_PYTHON

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_dlperf.duel.cleanup_process import CleanupProcess

INSTALL_SECONDS: Final = 900.0
"""How long an install command may take; it may compile."""

_VENV_SECONDS: Final = 120.0
_ASK_SECONDS: Final = 60.0
_DISTRIBUTION: Final = "pytest-dlperf"
_INHERIT: Final = "zz_dlperf_parent"
_FINDERS: Final = '''\
"""Adds the packages of the environment that pytest runs in, after this one's own."""
import site
import sys

def is_standard(finder):
    return getattr(finder, "__module__", "").startswith("_frozen_")

standard = [finder for finder in sys.meta_path if is_standard(finder)]
own = [finder for finder in sys.meta_path if finder not in standard]
for folder in {folders!a}:
    site.addsitedir(folder)
others = [finder for finder in sys.meta_path if finder not in own + standard]
sys.meta_path[:] = own + standard + others
'''
_ASK: Final = (
    "import json; from importlib.metadata import version; import pytest_dlperf; "
    f"print(json.dumps([version({_DISTRIBUTION!r})]))"
)


def make_environment(
    folder: Path, tree: Path, command: str, environment: Mapping[str, str], cleanup: CleanupProcess
) -> Path:
    """Make a virtual environment and install a tree's version of the project into it.

    Packages of this process' environment can be imported there too, so the command needs to
    install only the project; what it installs takes precedence.

    Args:
        folder: must not exist yet.
        tree: where the command runs.
        command: such as `pip install -e .`; split as by a shell, but no shell runs it. `python`
            and `pip` are the new environment's.
        environment: the variables that it runs with.
        cleanup: removes the environment at the end.

    Returns:
        The environment's Python.

    Raises:
        UsageError: if the environment cannot be made, or the command fails; with its last lines.
    """
    words = _words(command)
    cleanup.folder(folder)
    # This environment's pip can install there too, which saves the seconds of installing one.
    has_pip = importlib.util.find_spec("pip") is not None
    venv = [sys.executable, "-m", "venv", *(["--without-pip"] if has_pip else []), str(folder)]
    variables = {name: value for name, value in environment.items() if name != "PYTHONHOME"}
    code, lines = cleanup.run(
        venv, folder=folder.parent, environment=variables, seconds=_VENV_SECONDS
    )
    if code != 0:
        raise UsageError(f"no virtual environment can be made: {_failure(venv, code, lines)}")
    python = folder / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    inherit(packages, _site_folders())
    if has_pip:
        _add_pip(folder / "bin", python)
    code, lines = cleanup.run(
        words, folder=tree, environment=activated(folder, environment), seconds=INSTALL_SECONDS
    )
    if code != 0:
        raise UsageError(
            f"the project cannot be installed in {tree}: {_failure(words, code, lines)}",
            f"{CHANGE_INSTALL}, or compare with a commit that can be installed",
        )
    return python


def activated(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of a process that runs in the virtual environment of a folder."""
    variables = dict(environment)
    variables.pop("PYTHONHOME", None)
    variables["VIRTUAL_ENV"] = str(folder)
    variables["PATH"] = os.pathsep.join(filter(None, (f"{folder}/bin", environment.get("PATH"))))
    return variables


def inherit(packages: Path, folders: Sequence[str]) -> None:
    """Make the packages of some folders importable in an environment, after its own.

    Its own come first in all cases: also where its editable installs use import hooks, which
    Python tries after all paths, or where those of the folders would be tried first.

    Args:
        packages: the environment's folder of packages.
        folders: of packages to add.
    """
    # The name sorts after all that installers write, which are read first.
    (packages / f"{_INHERIT}.pth").write_text(f"import {_INHERIT}\n")
    (packages / f"{_INHERIT}.py").write_text(_FINDERS.format(folders=list(folders)))


def check_interpreter(path: str) -> Path:
    """Check that a Python has this plugin, in this version.

    Args:
        path: of the interpreter, or its name if it is in PATH.

    Returns:
        Its absolute path; the symbolic links of a virtual environment are kept.

    Raises:
        UsageError: if it is not there, does not run, or lacks the plugin.
    """
    program = shutil.which(path)
    if program is None:
        raise UsageError(f"{path!r} is no program that can be run", NAME_PYTHON)
    python = Path(os.path.abspath(program))  # noqa: PTH100 - resolve() would leave the environment
    ours = importlib.metadata.version(_DISTRIBUTION)
    hint = f"install it there: {shlex.quote(str(python))} -m pip install {_DISTRIBUTION}=={ours}"
    try:
        done = subprocess.run(  # noqa: S603 - the user's own choice
            [str(python), "-c", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            # So that a copy of the plugin in the working directory is not imported.
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            timeout=_ASK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"{python} does not run: {error}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UsageError(f"{python} cannot import pytest_dlperf: {last}", hint)
    try:
        (theirs,) = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, LookupError):
        raise UsageError(f"{python} is no Python: it answers {done.stdout[:80]!r}") from None
    if theirs != ours:
        raise UsageError(
            f"{python} has {_DISTRIBUTION} {theirs}, and this is {ours}: both sides of a duel "
            "must be measured alike",
            hint,
        )
    return python


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"the install command {command!r} cannot be read: {error}") from None
    if not words:
        raise UsageError("the install command is empty", 'name one, such as "pip install -e ."')
    return words


def _failure(command: list[str], code: int | None, lines: list[str]) -> str:
    took = "took too long" if code is None else f"ended with exit code {code}"
    return f"{shlex.join(command)} {took}" + "".join(f"\n    {line}" for line in lines)


def _site_folders() -> list[str]:
    """The folders of packages that this process can import from."""
    users = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return [folder for folder in (*site.getsitepackages(), *users) if Path(folder).is_dir()]


def _add_pip(programs: Path, python: Path) -> None:
    # With -P, so that no module of the project hides one of pip's.
    script = f'#!/bin/sh\nexec {shlex.quote(str(python))} -P -m pip "$@"\n'
    for name in ("pip", "pip3"):
        (programs / name).write_bytes(os.fsencode(script))
        (programs / name).chmod(0o755)
