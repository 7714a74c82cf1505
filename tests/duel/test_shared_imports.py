"""Which modules a fork server may import for all workers."""

from __future__ import annotations

import os
import signal
import sys
import threading
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_dlperf.duel.shared_imports import import_ahead, imported_alike, installed_modules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class RewritingLoader(SourceFileLoader):
    """As pytest's, for plugins."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed modules; what was imported from it is forgotten afterwards."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sysconfig.get_paths", lambda: dict.fromkeys(FOLDERS, str(folder)))
    before = set(sys.modules)
    with monkeypatch.context() as patch:
        patch.setattr("sys.dont_write_bytecode", True)
        yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]


FOLDERS = ("stdlib", "platstdlib", "purelib", "platlib")


def module(name: str, loader: object, file: str) -> ModuleType:
    """A module that a loader has loaded from a file."""
    made = ModuleType(name)
    made.__spec__ = ModuleSpec(name, loader, origin=file)  # type: ignore[arg-type]
    return made


def test_modules_that_may_be_shared(site: Path) -> None:
    """Installed ones, loaded in the ordinary way under their own name, and built-in ones."""
    inside, outside = str(site / "a.py"), str(site.parent / "a.py")
    ordinary = SourceFileLoader("a", inside)
    modules = {
        "a": module("a", ordinary, inside),
        "old": module("old", ordinary, inside),
        "project": module("project", ordinary, outside),
        "plugin": module("plugin", RewritingLoader("plugin", inside), inside),
        "alias": module("a", ordinary, inside),
        "made": ModuleType("made"),
        "pytest_dlperf.errors": module("pytest_dlperf.errors", ordinary, inside),
        "time": sys.modules["time"],
    }

    found = installed_modules(modules, {"old"})

    assert {name: file for name, file in found.items() if file} == {"a": inside, "time": "-"}
    assert set(found) == set(modules) - {"old"}


def test_what_both_sides_have_loaded() -> None:
    """From the same file, in the order of the first; what may not be shared never is."""
    base = {"b": "/s/b.py", "a": "/s/a.py", "own": "", "c": "/s/1/c.py", "base": "/s/base.py"}
    candidate = {"a": "/s/a.py", "own": "", "b": "/s/b.py", "c": "/s/2/c.py"}

    assert list(imported_alike([base, candidate])) == ["b", "a"]
    assert imported_alike([base, {}]) == {}  # it has changed a variable


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("VALUE = 1", None),
        ("import json, known_one", None),
        ("import sys, types\nsys.modules['imported_one.made'] = types.ModuleType('made')", None),
        ("import threading\nthreading.Thread(target=release_of_test.wait).start()", 1),
        ("import os\nos.environ['IMPORTED_ONE'] = '1'", 1),
        ("import os\nos.chdir('/')", 1),
        ("FILE = open('/dev/null')", 1),
        ("import sys\nsys.path.append('/somewhere')", 1),
        ("import random\nrandom.random()", 1),
        ("import numpy\nnumpy.random.seed(1)", 1),
        ("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)", 1),
        ("import sys\nsys.stdout = sys.stderr", 1),
        ("raise RuntimeError('no driver')", 1),
        ("raise SystemExit(1)", 1),
        ("import unknown_one", 1),
    ],
)
def test_modules_that_do_more_than_being_imported(
    site: Path, monkeypatch: pytest.MonkeyPatch, source: str, place: int | None
) -> None:
    """The place of the first is told; it would do that once instead of in each process."""
    release = threading.Event()
    monkeypatch.setattr("builtins.release_of_test", release, raising=False)
    monkeypatch.setattr("sys.stdout", sys.stdout)
    monkeypatch.delenv("IMPORTED_ONE", raising=False)
    monkeypatch.setattr("sys.path", [*sys.path])
    drawn, handler = np.random.get_state(), signal.getsignal(signal.SIGTERM)  # noqa: NPY002
    files = {}
    texts = {"known_one": "", "imported_one": source, "unknown_one": "", "last": ""}
    for name, text in texts.items():
        path = site / f"{name}.py"
        path.write_text(text)
        if name != "unknown_one":
            files[name] = str(path)
    try:
        assert import_ahead(files) == place
    finally:
        release.set()
        np.random.set_state(drawn)  # noqa: NPY002
        signal.signal(signal.SIGTERM, handler)
        os.environ.pop("IMPORTED_ONE", None)
    assert ("last" in sys.modules) == (place is None)
