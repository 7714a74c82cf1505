"""A duel never compares code with itself unnoticed."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.duel.module_identity import (
    Shared,
    SharingReason,
    editable_folders,
    loaded_modules,
    moved_to_tree,
    own_modules,
    shared_modules,
    sharing_error,
)

if TYPE_CHECKING:
    from pathlib import Path

FILES = (
    *("src/app/__init__.py", "src/app/model.py", "tool.py", "setup.py", "conftest.py"),
    *("tests/__init__.py", "tests/test_app.py", "lib/space/part/__init__.py", "docs/conf.py"),
    *("vendor/numpy/__init__.py", "src/space/loose.py", "sub/src/inner/__init__.py"),
)
SITE = "/repo/.venv/lib/python3.11/site-packages"


def shared(base: dict[str, str], candidate: dict[str, str]) -> tuple[Shared, ...]:
    """Of a project in /repo whose other commit is in /tree."""
    return shared_modules(base, candidate, FILES, "/repo", "/tree")


def test_the_names_of_the_project() -> None:
    """Topmost packages and modules, also in namespaces; neither tests nor vendored packages."""
    names = own_modules(FILES)
    assert {"app", "tool", "space.part", "space.loose"} <= names
    assert not {"tests", "setup", "conftest", "numpy", "inner", "app.model", "space"} & names
    assert "inner" in own_modules(FILES, "sub")
    assert own_modules(["src/__init__.py", "src/a.py"]) == {"src"}


def test_two_versions_are_no_trouble() -> None:
    """Each side has the project in its own tree; libraries and this plugin are shared."""
    common = {
        "numpy": f"{SITE}/numpy/__init__.py",
        "pytest_dlperf.pytest_plugin.plugin": "/repo/pytest_dlperf/plugin.py",
        "json": "/usr/lib/python3.11/json/__init__.py",
        "json.tool": "/repo/conda/lib/python3.11/json/tool.py",
        "tests": f"{SITE}/tests/__init__.py",
        "appendix": f"{SITE}/appendix.py",
    }
    base = common | {"app": "/tree/src/app/__init__.py", "conftest": "/tree/conftest.py"}
    candidate = common | {"app": "/repo/src/app/__init__.py", "conftest": "/repo/conftest.py"}
    assert shared(base, candidate) == ()


def test_an_editable_install() -> None:
    """The base's side loads the working tree, whatever the module's name."""
    found = shared(
        {"app": "/repo/src/app/__init__.py", "odd": "/repo/build/odd.so", "x": "/repo-other/x.py"},
        {"app": "/repo/src/app/__init__.py"},
    )
    assert found == (
        Shared("app", "/repo/src/app/__init__.py", SharingReason.BASE_IN_WORKING_TREE),
        Shared("odd", "/repo/build/odd.so", SharingReason.BASE_IN_WORKING_TREE),
    )


@pytest.mark.parametrize("module", ["app", "app.model", "tool", "space.part", "space.loose"])
@pytest.mark.parametrize("folder", [SITE, "/usr/lib/python3/dist-packages", "/another/clone/src"])
def test_an_ordinary_install(module: str, folder: str) -> None:
    """Both sides load the project's own module from one file, wherever that is."""
    file = f"{folder}/{module.replace('.', '/')}.py"
    assert shared({module: file}, {module: file}) == (
        Shared(module, file, SharingReason.SAME_FILE),
    )
    assert shared({module: file}, {module: f"/repo/{module}.py"}) == ()


def test_a_candidate_in_the_worktree() -> None:
    """The other way round is found as well."""
    found = shared({}, {"app": "/tree/src/app/__init__.py"})
    assert found == (
        Shared("app", "/tree/src/app/__init__.py", SharingReason.CANDIDATE_IN_WORKTREE),
    )


def test_a_worktree_in_the_repository() -> None:
    """The base's own tree may be below the working tree, as with a TMPDIR there."""
    base, candidate = {"app": "/repo/tmp/tree/app.py"}, {"app": "/repo/app.py"}
    assert shared_modules(base, candidate, FILES, "/repo", "/repo/tmp/tree") == ()
    (found,) = shared_modules(candidate, base, FILES, "/repo", "/repo/tmp/tree")
    assert found.module == "app"


def test_the_error() -> None:
    """Which module, which file, why it matters and both ways out; a package for its modules."""
    error = sharing_error(
        shared(
            {
                "app": "/repo/src/app/__init__.py",
                **{f"app.m{i}": f"/repo/src/app/m{i}.py" for i in range(30)},
                "tool": "/repo/tool.py",
            },
            {},
        )
    )
    assert error.problem.splitlines() == [
        error.problem.partition("\n")[0],
        f"    app (/repo/src/app/__init__.py): {SharingReason.BASE_IN_WORKING_TREE.value}",
        f"    tool (/repo/tool.py): {SharingReason.BASE_IN_WORKING_TREE.value}",
        "    and 30 more",
    ]
    assert "compared with itself, which always passes" in error.problem
    for way in ('pythonpath = ["src"]', '--dlperf-against-install="pip install -e ."'):
        assert way in error.hint


def test_the_error_without_more() -> None:
    """A single module has no more to be counted."""
    error = sharing_error((Shared("tool", "/site/tool.py", SharingReason.SAME_FILE),))
    assert error.problem.endswith("    tool (/site/tool.py): both sides loaded it from there")


def test_what_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules with a file, by its real path; others, whatever they are, do no harm."""
    real, link = tmp_path / "real.py", tmp_path / "link.py"
    real.touch()
    link.symlink_to(real)
    linked = types.ModuleType("linked")
    linked.__file__ = str(link)
    monkeypatch.setitem(sys.modules, "linked", linked)
    monkeypatch.setitem(sys.modules, "none", None)
    monkeypatch.setitem(sys.modules, "odd", object())
    found = loaded_modules()
    assert found["linked"] == str(real)
    assert found["pytest_dlperf.errors"].endswith("pytest_dlperf/errors.py")
    assert not {"none", "odd", "sys", "__main__"} & set(found)


def test_folders_of_an_editable_install_have_twins_in_the_worktree() -> None:
    """Of path files and of setuptools' finders, once each; no library has one."""
    finder = types.SimpleNamespace(MAPPING={"app": "/repo/src/app", "tool": "/repo/tool"})
    modules = {"__editable___app_finder": finder, "json": types.SimpleNamespace()}
    path = ["/usr/lib/python3.11", SITE, "/repo/src", "/tree/lib", "/repo-other"]

    folders = editable_folders(path, modules)

    assert moved_to_tree(folders, "/repo", "/tree") == ["/tree/src", "/tree"]
    assert moved_to_tree(["/repo/.dlperf-tree/src"], "/repo", "/repo/.dlperf-tree") == []
