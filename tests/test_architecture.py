"""Who may import whom: edges -> engine -> core, and nothing heavy at import."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pytest_dlperf

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(pytest_dlperf.__file__).parent
PACKAGE = "pytest_dlperf"
EDGES = frozenset(
    f"{PACKAGE}.{name}"
    for name in (
        "cli",
        "plugin",
        "fixtures",
        "session",
        "measuring",
        "collecting",
        "pytest_options",
        "against_stored",
        "arena",
        "bookkeeping",
        "census",
        "carrier",
        "corner",
        "doctor_side",
        "dueling",
        "footing",
        "historian",
        "listing",
        "neighbours",
        "publishing",
        "side",
        "hookspecs",
        "tune",
        "tune_run",
        "tunings",
        "unused",
    )
)
PYTEST = EDGES - {
    f"{PACKAGE}.{name}"
    for name in (
        *("cli", "bookkeeping", "measuring", "against_stored", "tune"),
        *("corner", "doctor_side", "footing"),
    )
}
"""The modules that may know pytest."""

TENSORFLOW = (f"{PACKAGE}.engine.keras", f"{PACKAGE}.engine.saved_model")
"""How the names of the modules begin that may know TensorFlow."""

# Layer -> the layers and modules of the package, and the third parties, that it may import.
LAYERS = {
    "core": ({"core", "errors"}, {"numpy", "scipy"}),
    "engine": (
        {"core", "engine", "errors"},
        {
            *("numpy", "psutil", "pynvml", "sklearn", "tensorflow", "keras"),
            *("ai_edge_litert", "onnxruntime"),
        },
    ),
    "adapters": (
        {"core", "errors", "adapters"},
        {"numpy", "optuna", "pytest_benchmark", "sqlalchemy", "tritonclient"},
    ),
    "commands": (
        {"core", "engine", "errors", "adapters", "reports", "commands"},
        {"numpy"},
    ),
    "reports": ({"core", "errors", "reports"}, {"numpy", "rich"}),
    "errors": (set(), set()),
}
LAZY = {
    *("scipy", "rich", "tensorflow", "keras", "sklearn", "psutil", "pynvml", "tritonclient"),
    *("pytest_benchmark", "sqlalchemy", "optuna", "ai_edge_litert", "onnxruntime"),
}
"""Third parties that are imported in functions only: nothing heavy at import."""
IMPURE = {
    *("asyncio", "concurrent", "datetime", "glob", "io", "logging", "multiprocessing", "os"),
    *("pathlib", "platform", "queue", "random", "secrets", "selectors", "shutil", "signal"),
    *("socket", "sqlite3", "subprocess", "sys", "tempfile", "threading", "time", "warnings"),
}
"""The standard library's clocks, files, threads and environment, which the core has none of."""


@dataclass(frozen=True)
class Import:
    """One imported module: where, which, in a function, and whether for type checking only."""

    line: int
    module: str
    in_function: bool
    typing_only: bool


def _name(path: Path) -> str:
    parts = (PACKAGE, *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _walk(
    node: ast.AST, *, in_function: bool = False, typing_only: bool = False
) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(child.lineno, alias.name, in_function, typing_only)
            case ast.ImportFrom(module=module, level=level, names=names):
                # A relative import would slip through: it is named so that no rule allows it.
                base = "." * level + (module or "")
                for alias in names:
                    whole = f"{base}.{alias.name}"
                    found = whole if whole in MODULES else base
                    yield Import(child.lineno, found, in_function, typing_only)
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=orelse):
                for part, guarded in ((body, True), (orelse, typing_only)):
                    module = ast.Module(body=part, type_ignores=[])
                    yield from _walk(module, in_function=in_function, typing_only=guarded)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from _walk(child, in_function=True, typing_only=typing_only)
            case _:
                yield from _walk(child, in_function=in_function, typing_only=typing_only)


PATHS = {_name(path): path for path in sorted(ROOT.rglob("*.py"))}
MODULES = frozenset(PATHS)


def _imports(source: str) -> list[Import]:
    return list(_walk(ast.parse(source)))


def _layer(module: str) -> str:
    return module.removeprefix(f"{PACKAGE}.").split(".")[0]


def problems(module: str, source: str) -> list[str]:
    """What a module imports that it must not."""
    found = []
    for one in _imports(source):
        problem = _problem(module, one)
        if problem:
            found.append(f"{module}:{one.line}: {one.module}: {problem}")
    return found


def _problem(module: str, one: Import) -> str:
    top = one.module.split(".")[0]
    lazy = one.in_function or one.typing_only
    if top == "":
        return "imports are absolute"
    if top in {"pytest", "_pytest"}:
        return "" if module in PYTEST else "only the edges know pytest"
    if top in {"tensorflow", "keras"} and not module.startswith(TENSORFLOW):
        return "only engine/keras*.py and engine/saved_model.py know TensorFlow"
    if top in LAZY and not lazy:
        return "in functions only"
    if module == PACKAGE:
        return "" if lazy or top in sys.stdlib_module_names else "lazily only"
    return "" if module in EDGES else _problem_of_layer(_layer(module), one.module)


def _problem_of_layer(layer: str, imported: str) -> str:
    top = imported.split(".", maxsplit=1)[0]
    if layer not in LAYERS:
        return "this module is in no layer"
    own, third_parties = LAYERS[layer]
    if top == PACKAGE:
        return "" if _layer(imported) in own else f"{layer} must not know it"
    if top in sys.stdlib_module_names:
        return "the core is pure" if layer == "core" and top in IMPURE else ""
    return "" if top in {*third_parties, "_typeshed"} else f"{layer} must not know it"


@pytest.mark.parametrize("module", PATHS)
def test_imports_only_go_down(module: str) -> None:
    """A module imports only what its layer may know."""
    assert problems(module, PATHS[module].read_text()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.judge", "import pytest"),
        ("core.judge", "import os"),
        ("core.judge", "from time import monotonic"),
        ("core.judge", "def f():\n    from pathlib import Path"),
        ("core.judge", "from scipy import stats"),
        ("core.judge", "class A:\n    import scipy"),
        ("core.judge", "import tensorflow"),
        ("core.judge", "def f():\n    import tensorflow"),
        ("core.judge", "from pytest_dlperf.engine.clock import Clock"),
        ("core.judge", "from pytest_dlperf import engine"),
        ("core.judge", "from ..engine import clock"),
        ("core.judge", "from . import units"),
        ("core.judge", "if TYPE_CHECKING:\n    from pytest_dlperf.engine.clock import Clock"),
        ("core.judge", "if TYPE_CHECKING:\n    import rich"),
        ("core.statistics.blocks", "from pytest_dlperf.adapters import files"),
        ("engine.load", "import pytest"),
        ("engine.load", "def f():\n    import rich"),
        ("engine.load", "def f():\n    import pytest_benchmark"),
        ("engine.load", "def f():\n    import tensorflow"),
        ("engine.load", "from pytest_dlperf.reports.progress import NoProgress"),
        ("engine.keras", "import tensorflow as tf"),
        ("engine.saved_model", "import tensorflow as tf"),
        ("engine.nvml", "import pynvml"),
        ("engine.isolation", "def f():\n    import tensorflow"),
        ("engine.keras", "try:\n    import keras\nexcept ImportError:\n    pass"),
        ("adapters.files", "from pytest_dlperf.engine import clock"),
        ("adapters.files", "from pytest_dlperf.reports import terminal"),
        ("adapters.files", "import scipy"),
        ("adapters.inference_http", "from tritonclient import http"),
        ("adapters.pytest_benchmark", "from pytest_benchmark.stats import Metadata"),
        ("adapters.inference_http", "def f():\n    import gevent"),
        ("engine.target", "def f():\n    from tritonclient import http"),
        ("reports.terminal", "from rich.table import Table"),
        ("reports.terminal", "from pytest_dlperf.adapters import files"),
        ("reports.terminal", "from pytest_dlperf.session import DlperfSession"),
        ("errors", "from pytest_dlperf.core import units"),
        ("cli", "import pytest"),
        ("measuring", "import pytest"),
        ("plugin", "import rich"),
        ("plugin", "import scipy.stats"),
        ("stray", "import os"),
        ("stray", "from pytest_dlperf.engine import clock"),
    ],
)
def test_the_rules_find_what_breaks_them(module: str, source: str) -> None:
    """Each rule refuses an import that breaks it."""
    assert problems(f"{PACKAGE}.{module}", source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.judge", "import math\nimport numpy as np"),
        ("core.judge", "def f():\n    from scipy.special import stdtrit"),
        ("core.judge", "if TYPE_CHECKING:\n    from pytest_dlperf.core.budgets import Budget"),
        ("engine.keras", "def f():\n    import keras"),
        ("adapters.inference_http", "def f():\n    from tritonclient import http"),
        ("adapters.pytest_benchmark", "def f():\n    import pytest_benchmark"),
        ("engine.saved_model", "def f():\n    import tensorflow"),
        ("engine.nvml", "def f():\n    import pynvml"),
        ("engine.load", "import threading\nfrom pytest_dlperf.core import samples"),
        ("reports.terminal", "def f():\n    from rich.table import Table"),
        ("plugin", "import pytest\nfrom pytest_dlperf.engine import clock"),
    ],
)
def test_the_rules_leave_room(module: str, source: str) -> None:
    """What the layers may know is allowed."""
    assert problems(f"{PACKAGE}.{module}", source) == []


def test_all_layers_are_seen() -> None:
    """The modules that the rules are about are really there."""
    assert {_layer(module) for module in PATHS} >= {*LAYERS, PACKAGE}
    assert EDGES <= MODULES


@pytest.mark.parametrize(
    "module", [m for m in PATHS if _layer(m) in {"core", "engine", "adapters"}]
)
def test_nothing_below_the_edges_prints(module: str) -> None:
    """Only reports make text for people, and only the edges show it."""
    tree = ast.parse(PATHS[module].read_text())
    calls = [n.func for n in ast.walk(tree) if isinstance(n, ast.Call)]
    assert not [f for f in calls if isinstance(f, ast.Name) and f.id in {"print", "input"}]


def test_nothing_heavy_at_import() -> None:
    """Importing the plugin and its edges loads no TensorFlow, scipy, scikit-learn or rich."""
    heavy = [
        "tensorflow",
        "keras",
        "scipy",
        "sklearn",
        "sqlalchemy",
        "rich",
        "psutil",
        "grpc",
        "pynvml",
    ]
    modules = ", ".join(sorted(EDGES))
    code = f"import sys, {modules}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
