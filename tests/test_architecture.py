"""The rules of the house: who imports whom, does I/O, knows third parties and the command line."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
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
    "google": ("targets.remote.serving_messages",),
    "grpc": ("targets.remote.tensorflow_serving_grpc",),
    "jax": ("targets.jax_functions",),
    "keras": ("targets.keras", "targets.conversion", "training.keras."),
    "numpy": ("",),
    "onnxruntime": ("targets.onnx",),
    "optuna": ("tuning.optuna_search",),
    "orjson": ("targets.remote.json_body",),
    "psutil": ("duel.servers", "machine", "measure.telemetry"),
    "pynvml": ("measure.gpu_driver",),
    "pytest": ("pytest_plugin.",),
    "pytest_benchmark": ("pytest_plugin.pytest_benchmark",),
    "rich": ("report.tables",),
    "scipy": ("statistics.", "doctor.", "tuning.effects"),
    "sklearn": ("data.digits",),
    "sqlalchemy": ("history.",),
    "tensorflow": (
        *("targets.keras", "targets.local_devices", "targets.conversion"),
        *("targets.process_replica", "training.keras."),
    ),
    "torch": ("targets.torch_modules",),
    "tritonclient": ("targets.remote.open_inference",),
}
"""Third party -> how the names of the modules begin that may import it."""
LIGHT = {"numpy", "pytest", "_pytest"}
"""Third parties that may be imported when a module is: all others in functions only."""


ORDER = (
    *("errors", "_values", "units", "_processes", "instrumentation", "clock", "_files"),
    *("metrics", "statistics", "trees", "ragged"),
    *("load", "results", "config", "judge", "report", "git", "history", "targets", "machine"),
    *("data", "measure", "baselines", "duel", "doctor", "training", "tuning", "_command", "cli"),
    "pytest_plugin",
)
"""Packages, and modules beside them: each imports only what stands before it."""
ENTRANCES = {"", "_command"}
"""What may be imported from anywhere: the public names, and what a command of the program is."""

IO = {"os", "pathlib", "random", "socket", "subprocess", "tempfile", "threading", "time"}
"""Parts of the standard library by which a module reaches out of the process, or waits."""
DOES_IO = (
    *("_command", "_files", "_processes", "instrumentation", "cli", "clock", "git", "machine"),
    *("baselines.cli",),
    *("baselines.collect_tests", "baselines.review", "doctor.cli", "doctor.host"),
    *("doctor.measure", "doctor.sides"),
    *("duel.carried_files", "duel.channel", "duel.cleanup_process", "duel.controller"),
    "duel.evidence_key",
    *("duel.fork_server", "duel.fork_server_process", "duel.shared_imports", "duel.worker_spec"),
    *("duel.escalation", "duel.missing_files", "duel.module_identity", "duel.submodules"),
    *("duel.virtualenvs", "duel.worker_process", "duel.workspace"),
    *("duel.worktree", "history.cli", "history.database", "history.lookup", "history.url"),
    *("load.async_runner", "load.request_log", "load.runner", "measure.slot_runner"),
    *("measure.telemetry", "report.json_report", "report.progress", "targets.conversion"),
    *("targets.model_files", "targets.onnx", "targets.process_replica", "targets.remote.http"),
    "targets.shared_memory",
    *("targets.worker", "targets.worker_process", "training.model_cache", "training.monitor"),
    *("training.train", "tuning.cli", "tuning.journal", "tuning.pipeline", "pytest_plugin."),
    *("load.trace_files", "measure.prepared"),
)
"""How the names of the modules begin that may use them."""

ADVICE = re.compile(r"--dlperf-|pytest-dlperf [a-z{]")
"""An option or a command of ours; `pytest-dlperf (schema 3)` is only the program's name."""
ADVISES = ("_command", "config.options", "errors", "pytest_plugin.", "report.")
"""How the names of the modules begin that may give advice with one; each `cli` may too."""


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


def out_of_order(module: str, source: str) -> list[str]:
    """Imports of something that does not stand before the module's own package."""
    own = module.split(".", maxsplit=1)[0]
    return [
        f"{module}:{one.line}: {one.module}"
        for one in imports(source)
        if one.module.startswith(".")
        or (
            one.module.split(".")[0] == PACKAGE
            and (other := f"{one.module}.".split(".")[1]) not in {own, *ENTRANCES}
            and not (other in ORDER and own in ORDER and ORDER.index(other) < ORDER.index(own))
        )
    ]


def cycles(sources: dict[str, str]) -> list[tuple[str, ...]]:
    """Modules that import each other, at once, in functions or for types."""
    inner = {
        module: {one.module.removeprefix(f"{PACKAGE}.") for one in imports(source)} - {module}
        for module, source in sources.items()
        if module
    }
    left = dict(inner)
    while free := [module for module, known in left.items() if not known & left.keys()]:
        left = {module: known for module, known in left.items() if module not in free}
    return [tuple(sorted(left))] if left else []


def impure(module: str, source: str) -> list[str]:
    """I/O of a module that does none."""
    if f"{module}.".startswith(DOES_IO):
        return []
    tree = ast.parse(source)
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    return [
        f"{module}:{node.lineno}: {name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in typing
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
        if name.split(".")[0] in IO
    ]


def advice(module: str, source: str) -> list[str]:
    """Texts, but no docstrings, in which a module that does not know the command line names it."""
    if f"{module}.".startswith(ADVISES) or module.endswith("cli"):
        return []
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        f"{module}:{node.lineno}: {text}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in docstrings
        if ADVICE.search(text := _text(node))
    ]


def _text(node: ast.expr) -> str:
    """A literal's text; values in f-strings are `{}`."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value) for value in values)
        case ast.FormattedValue():
            return "{}"
        case _:
            return ""


@pytest.mark.parametrize("module", SOURCES)
def test_imports_go_one_way(module: str) -> None:
    """A package imports only packages that stand before it."""
    assert not module or out_of_order(module, SOURCES[module]) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("statistics.trend", "from pytest_dlperf.load import totals"),
        ("judge.judge", "if TYPE_CHECKING:\n    from pytest_dlperf.duel.worker import Worker"),
        ("judge.judge", "def f():\n    import pytest_dlperf.report.terminal"),
        ("judge.judge", "from . import losses"),
        ("stray", "from pytest_dlperf.errors import UsageError"),
        ("judge.judge", "from pytest_dlperf.stray import anything"),
    ],
)
def test_an_import_against_the_order_is_found(module: str, source: str) -> None:
    """Each kind of offence is seen."""
    assert out_of_order(module, source)


def test_no_module_imports_itself_in_a_circle() -> None:
    """Neither at once, nor in functions, nor for types."""
    assert cycles(SOURCES) == []


def test_a_circle_is_found() -> None:
    """Also one that is made in a function and for types; what leads to it is no part of it."""
    circle = {
        "load.runner": "def f():\n    from pytest_dlperf.load import samples",
        "load.samples": "if TYPE_CHECKING:\n    from pytest_dlperf.load.totals import LoadTotals",
        "load.totals": "import pytest_dlperf.load.runner",
    }
    assert cycles({**circle, "units": ""}) == [tuple(circle)]


@pytest.mark.parametrize("module", SOURCES)
def test_a_name_says_whether_a_module_does_io(module: str) -> None:
    """Clocks, files, threads and processes are for the modules of the table."""
    assert impure(module, SOURCES[module]) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("judge.judge", "import os"),
        ("load.samples", "from time import monotonic"),
        ("load.samples", "def f():\n    from pathlib import Path"),
        ("duel.verdicts", "import os.path"),
    ],
)
def test_io_out_of_place_is_found(module: str, source: str) -> None:
    """Each kind of offence is seen."""
    assert impure(module, source)


@pytest.mark.parametrize("module", SOURCES)
def test_options_are_named_where_the_command_line_is_known(module: str) -> None:
    """Who renames an option, or looks for what users are advised to do, looks in few places."""
    assert advice(module, SOURCES[module]) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("duel.virtualenvs", 'raise UsageError("no Python", "--dlperf-against-python= names one")'),
        ("doctor.advice", 'hint = f"{pairs} pairs: --dlperf-budget-time={seconds}"'),
        ("baselines.files", 'def f():\n    return f"pytest-dlperf {command}"'),
        ("baselines.unused", 'LISTED = "so that "  "pytest-dlperf " "baselines lists it"'),
        ("history.cli_report", 'WHAT = "a file of --dlperf-json"'),
    ],
)
def test_advice_out_of_place_is_found(module: str, source: str) -> None:
    """Each kind of offence is seen."""
    assert advice(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("config.plan", '"""Of `--dlperf-devices`."""\nMOST = 3\n"""Of --dlperf-devices."""'),
        ("results.record", 'def f():\n    """The content of `--dlperf-json`."""'),
        ("baselines.files", 'problem = f"written by pytest-dlperf (schema {schema})"'),
        ("history.database", 'hint = "upgrade pytest-dlperf"  # not --dlperf-history'),
        ("baselines.cli", 'hint = "record them: pytest --dlperf-update=new"'),
        ("report.hints", 'PRUNE = "pytest-dlperf baselines prune"'),
    ],
)
def test_no_advice_out_of_place(module: str, source: str) -> None:
    """Docstrings, the program's name, and advice in its place are none."""
    assert advice(module, source) == []


@pytest.mark.parametrize("module", SOURCES)
def test_third_parties_have_their_modules(module: str) -> None:
    """A third party is known to its own modules only, and what is heavy in functions only."""
    assert third_parties(module, SOURCES[module]) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("judge.judge", "import pytest"),
        ("judge.judge", "def f():\n    import tensorflow"),
        ("statistics.percentiles", "class A:\n    import scipy"),
        ("targets.keras", "import tensorflow as tf"),
        ("targets.keras", "try:\n    import keras\nexcept ImportError:\n    pass"),
        ("measure.gpu_driver", "import pynvml"),
        ("history.store", "import sqlalchemy"),
        ("baselines.files", "def f():\n    import sqlalchemy"),
        ("report.terminal", "def f():\n    from rich.table import Table"),
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


def class_names(sources: dict[str, str]) -> list[str]:
    """Every name of a class, as often as a class has it."""
    return [
        node.name
        for source in sources.values()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
    ]


def test_no_class_name_is_there_twice() -> None:
    """A name of a class says which one it is."""
    names = class_names(SOURCES)
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_a_name_that_is_there_twice_is_found() -> None:
    """Also of a class inside of another or of a function."""
    sources = {"a": "class Place: ...", "b": "def f():\n    class Place: ..."}
    assert class_names(sources) == ["Place", "Place"]


def missing_names(source: str, sources: dict[str, str]) -> list[str]:
    """What a program imports of this package, and is not there."""
    found = []
    for node in ast.walk(ast.parse(source)):
        module = getattr(node, "module", None) or ""
        if not isinstance(node, ast.ImportFrom) or module.partition(".")[0] != PACKAGE:
            continue
        inside = module.removeprefix(PACKAGE).removeprefix(".")
        there = _bound(sources[inside]) if inside in sources else set()
        there |= {name.rpartition(".")[2] for name in sources if name.rpartition(".")[0] == inside}
        found += [f"{module}.{each.name}" for each in node.names if each.name not in there]
    return found


_BINDING = re.compile(r"^(?:class|def|async def) (\w+)|^(\w+)(?:: .*)? = ", re.MULTILINE)


def _bound(source: str) -> set[str]:
    """The names that a module binds at its top, or imports there."""
    names = set(
        re.findall(r"^(?:class|def|async def) (\w+)|^(\w+)(?:: .*)? = ", source, re.MULTILINE)
    )
    imported = [
        each.asname or each.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    ]
    return {name for pair in names for name in pair if name} | set(imported)


PROGRAMS = sorted(
    path.relative_to(ROOT.parent).as_posix()
    for folder in ("benchmarks", "example_project")
    for path in (ROOT.parent / folder).rglob("*.py")
)


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_import_what_is_there(program: str) -> None:
    """Benchmarks are run by hand, so nothing else would notice a module that was moved."""
    source = (ROOT.parent / program).read_text()
    lazy = set(pytest_dlperf.__all__)
    missing = [name for name in missing_names(source, SOURCES) if name.count(".") > 1]
    exported = [name for name in missing_names(source, SOURCES) if name.count(".") == 1]
    assert missing == []
    assert {name.partition(".")[2] for name in exported} <= lazy


def test_an_import_of_what_is_not_there_is_found() -> None:
    """A module, or a name in one."""
    sources = {"": "", "a": "def b(): pass\nC: int = 1\n", "a.d": ""}
    program = "from pytest_dlperf.a import b, C, d, e\nfrom pytest_dlperf.f import g\n"
    assert missing_names(program, sources) == ["pytest_dlperf.a.e", "pytest_dlperf.f.g"]


EXTRAS = {
    "gpu": r"import pynvml\b",
    "jax": r"import jax\b",
    "litert": r"from ai_edge_litert\b",
    "onnx": r"import onnxruntime\b",
    "postgres": r"postgresql\+psycopg\b",
    "remote": r"from tritonclient\b",
    "torch": r"import torch\b",
    "tune": r"import optuna\b",
}
"""Extra -> how the package reaches what it installs."""


def test_every_extra_is_used() -> None:
    """An extra installs nothing that no module of the package asks for."""
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"]
    source = "\n".join(SOURCES.values())

    assert project["optional-dependencies"].keys() - {"bench", "dev", "plugins"} == EXTRAS.keys()
    assert [name for name, how in EXTRAS.items() if not re.search(how, source)] == []
