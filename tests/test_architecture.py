"""The rules of the house: who imports whom, who does I/O, where third parties are known."""

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

KNOWN_BY = {
    "_pytest": ("pytest_plugin.",),
    "ai_edge_litert": ("targets.litert",),
    "keras": ("targets.keras", "targets.conversion", "training.keras."),
    "numpy": ("",),
    "onnxruntime": ("targets.onnx",),
    "optuna": ("tuning.optuna_search",),
    "psutil": ("machine", "measure.telemetry"),
    "pynvml": ("measure.gpu_driver",),
    "pytest": ("pytest_plugin.",),
    "pytest_benchmark": ("pytest_plugin.pytest_benchmark",),
    "rich": ("report.", "history.compare_report", "history.timeline_report", "doctor.report"),
    "scipy": ("statistics.", "doctor.checkup", "tuning.effects", "tuning.main_effects"),
    "sklearn": ("data.digits", "training.label_noise"),
    "sqlalchemy": ("history.",),
    "tensorflow": (
        *("targets.keras", "targets.conversion", "targets.saved_model", "training.keras."),
    ),
    "tritonclient": ("targets.remote.open_inference",),
}
"""Third party -> how the names of the modules begin that may import it."""
LIGHT = {"numpy", "pytest", "_pytest"}
"""Third parties that may be imported when a module is: all others in functions only."""


@dataclass(frozen=True)
class Import:
    """One imported module: where, which, and whether only when a function runs or for types."""

    line: int
    module: str
    lazy: bool


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {_name(path): path.read_text() for path in sorted(ROOT.rglob("*.py"))}
"""Module, without the package's name -> source."""


def imports(source: str) -> Iterator[Import]:
    """Each import of a module; what a package's `from` names is a module where there is one."""
    yield from _walk(ast.parse(source), lazy=False)


def _walk(node: ast.AST, *, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import(names=names):
                yield from (Import(child.lineno, alias.name, lazy) for alias in names)
            case ast.ImportFrom(module=module, level=level, names=names):
                base = "." * level + (module or "")
                for alias in names:
                    whole = f"{base}.{alias.name}"
                    inner = whole.removeprefix(f"{PACKAGE}.") in SOURCES
                    yield Import(child.lineno, whole if inner else base, lazy)
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=orelse):
                yield from _walk(ast.Module(body=body, type_ignores=[]), lazy=True)
                yield from _walk(ast.Module(body=orelse, type_ignores=[]), lazy=lazy)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from _walk(child, lazy=True)
            case _:
                yield from _walk(child, lazy=lazy)


def third_parties(module: str, source: str) -> list[str]:
    """Third parties that a module must not know, or not import at once."""
    return [
        f"{module}:{one.line}: {one.module}" for one in imports(source) if not _allowed(module, one)
    ]


def _allowed(module: str, one: Import) -> bool:
    top = one.module.split(".")[0]
    if top in {"_typeshed", PACKAGE} or top in sys.stdlib_module_names:
        return True
    known = f"{module}.".startswith(KNOWN_BY.get(top, ())) or module.startswith(
        KNOWN_BY.get(top, ())
    )
    return known and (one.lazy or top in LIGHT)


@pytest.mark.parametrize("module", SOURCES)
def test_third_parties_have_their_modules(module: str) -> None:
    """A third party is known to its own modules only, and what is heavy in functions only."""
    assert third_parties(module, SOURCES[module]) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("judge.judge", "import pytest"),
        ("judge.judge", "def f():\n    import tensorflow"),
        ("judge.judge", "from . import losses"),
        ("statistics.percentiles", "class A:\n    import scipy"),
        ("targets.keras", "import tensorflow as tf"),
        ("targets.keras", "try:\n    import keras\nexcept ImportError:\n    pass"),
        ("measure.gpu_driver", "import pynvml"),
        ("history.store", "import sqlalchemy"),
        ("baselines.files", "def f():\n    import sqlalchemy"),
        ("report.terminal", "from rich.table import Table"),
        ("measure.measure", "def f():\n    import gevent"),
    ],
)
def test_a_third_party_out_of_place_is_found(module: str, source: str) -> None:
    """Each kind of offence is seen."""
    assert third_parties(module, source)


def test_nothing_heavy_at_import() -> None:
    """Importing the plugin loads no TensorFlow, scipy, scikit-learn, sqlalchemy or rich."""
    heavy = sorted(set(KNOWN_BY) - LIGHT - {"pytest_benchmark"})
    modules = ", ".join(f"{PACKAGE}.{name}" for name in SOURCES if name.startswith("pytest_plugin"))
    code = f"import sys, {modules}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
