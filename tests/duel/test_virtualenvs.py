"""A side's own version of the project takes precedence over that of pytest's environment."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_dlperf.duel import virtualenvs
from pytest_dlperf.duel.cleanup_process import CleanupProcess
from pytest_dlperf.duel.virtualenvs import (
    activated,
    check_interpreter,
    inherit,
    make_environment,
)
from pytest_dlperf.errors import UsageError

FINDER = """
import sys
from importlib.machinery import PathFinder
class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return PathFinder.find_spec(name, [{sources!r}]) if name == "tiny" else None
sys.meta_path.{place}
"""
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "tiny"
version = "1"
[tool.setuptools.packages.find]
where = ["src"]
"""


def says(python: str | Path, code: str, *options: str) -> str:
    """What a Python prints."""
    done = subprocess.run(  # noqa: S603 - our own interpreters
        [str(python), *options, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def install(folder: Path, kind: str) -> Path:
    """A folder of packages with `tiny`, in one of the ways that installers know."""
    packages = folder / "site-packages"
    sources = packages if kind == "ordinary" else folder / "sources"
    for path in (packages, sources):
        path.mkdir(parents=True, exist_ok=True)
    (sources / "tiny.py").write_text("")
    finder = f"finder_of_{folder.name}"
    match kind:
        case "path":
            (packages / "__editable__.tiny.pth").write_text(f"{sources}\n")
        case "late finder" | "early finder":
            place = "append(Finder)" if kind == "late finder" else "insert(0, Finder)"
            text = FINDER.format(sources=str(sources), place=place)
            (packages / f"{finder}.py").write_text(text)
            (packages / "__editable__.tiny.pth").write_text(f"import {finder}\n")
    return packages


KINDS = ("ordinary", "path", "late finder", "early finder")


@pytest.mark.parametrize("theirs", KINDS)
@pytest.mark.parametrize("ours", KINDS)
def test_the_environments_own_comes_first(tmp_path: Path, ours: str, theirs: str) -> None:
    """However the project is installed in either, the new environment's is imported."""
    child, parent = install(tmp_path / "child", ours), install(tmp_path / "parent", theirs)
    (parent / "other.py").write_text("")
    inherit(child, [str(parent)])
    code = f"import site; site.addsitedir({str(child)!r}); import other, tiny; print(tiny.__file__)"
    assert says(sys.executable, code, "-S", "-I").startswith(f"{tmp_path}/child/")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in a src layout, with modules that are called as some of pip's own."""
    folder = tmp_path / "a project"
    (folder / "src" / "tiny").mkdir(parents=True)
    (folder / "src" / "tiny" / "__init__.py").write_text("")
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "pip.py").write_text("raise SystemExit('the wrong pip')")
    return folder


def test_an_environment(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree's version is imported, though this one has another; so is all that it has."""
    parent = install(tmp_path / "parent", "ordinary")
    real = site.getsitepackages()
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(parent), *real])
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    folder = tmp_path / "env"
    command = "pip install --quiet --no-index --no-deps --no-build-isolation -e ."
    with CleanupProcess() as cleanup:
        python = make_environment(folder, project, command, os.environ, cleanup)
        monkeypatch.delenv("PYTHONHOME")
        code = "import sys, tiny, numpy, pytest_dlperf; print(tiny.__file__, sys.prefix, sep='|')"
        assert says(python, code) == f"{project}/src/tiny/__init__.py|{folder}"
        assert check_interpreter(str(python)) == python
    assert not folder.exists()


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (
            "python -c \"print('no compiler'); raise SystemExit(3)\"",
            r"exit code 3\n    no compiler",
        ),
        ("no-such-program", "ended with exit code 127\n.*no-such-program: not found"),
    ],
)
def test_an_install_that_fails(project: Path, tmp_path: Path, command: str, problem: str) -> None:
    """The command's exit code and last lines are in the error."""
    with CleanupProcess() as cleanup, pytest.raises(UsageError, match=problem) as caught:
        make_environment(tmp_path / "env", project, command, os.environ, cleanup)
    assert f"cannot be installed in {project}" in caught.value.problem
    assert "--dlperf-against-install" in caught.value.hint
    assert not (tmp_path / "env").exists()


def test_an_install_that_takes_too_long(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ended."""
    monkeypatch.setattr(virtualenvs, "INSTALL_SECONDS", 0.05)
    with CleanupProcess() as cleanup, pytest.raises(UsageError, match="sleep 1000 took too long"):
        make_environment(tmp_path / "env", project, "sleep 1000", os.environ, cleanup)


def test_no_environment(project: Path, tmp_path: Path) -> None:
    """What the module venv says is in the error."""
    (tmp_path / "env").touch()
    with (
        CleanupProcess() as cleanup,
        pytest.raises(UsageError, match="no virtual environment can be made"),
    ):
        make_environment(tmp_path / "env", project, "true", os.environ, cleanup)


@pytest.mark.parametrize("command", ["", "  ", "pip install 'half"])
def test_commands_that_are_none(tmp_path: Path, command: str) -> None:
    """They are refused before anything is made."""
    with pytest.raises(UsageError, match="install command"):
        make_environment(tmp_path / "env", tmp_path, command, {}, CleanupProcess())


def test_the_variables_of_an_environment(tmp_path: Path) -> None:
    """Its programs come first; what would lead Python elsewhere is gone."""
    found = activated(tmp_path, {"PATH": "/bin", "PYTHONHOME": "/else", "A": "a"})
    assert found == {"PATH": f"{tmp_path}/bin:/bin", "VIRTUAL_ENV": str(tmp_path), "A": "a"}
    assert activated(tmp_path, {})["PATH"] == f"{tmp_path}/bin"


def test_this_interpreter_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This very one has the plugin; what lies in the working directory is not taken for it."""
    (tmp_path / "pytest_dlperf.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    assert check_interpreter(sys.executable) == Path(sys.executable)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo broken >&2; exit 1", "cannot import pytest_dlperf: broken"),
        ("exit 3", "cannot import pytest_dlperf: exit code 3"),
        ("""echo '["0.0.1"]'""", r"has pytest-dlperf 0\.0\.1, and this is"),
        ("echo hello", "is no Python: it answers 'hello"),
        ("echo", "is no Python: it answers"),
    ],
)
def test_interpreters_that_will_not_do(tmp_path: Path, script: str, problem: str) -> None:
    """One without the plugin, with another version of it, or that is no Python."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    with pytest.raises(UsageError, match=problem):
        check_interpreter(str(python))


def test_interpreters_that_do_not_run(tmp_path: Path) -> None:
    """One that is not there, and one that the kernel refuses."""
    with pytest.raises(UsageError, match="no program that can be run"):
        check_interpreter(str(tmp_path / "python"))
    (tmp_path / "python").write_bytes(b"\x7fELF")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(UsageError, match="does not run"):
        check_interpreter(str(tmp_path / "python"))
