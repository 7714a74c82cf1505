"""Why a measurement has no base: the test is new, it is skipped there, or it cannot be measured."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pytest_dlperf.results.verdict import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.results.measurement import Measurement

_FOREIGN: Final = re.compile(r"^<|(^|/)(site-packages|dist-packages|lib/python\d[^/]*)/")
"""Files that are not the project's."""

_CRASH: Final = "Fatal Python error"
_CRASH_LINES: Final = 6
_LAST_LINES: Final = 3
_NOISE: Final = "Extension modules: "

_OURS: Final = "pytest_dlperf"  # has no tests to import

Kind: TypeAlias = Literal["absent", "skipped", "broken"]

_EMPTY: Final = "[NOTSET"
"""How pytest names the parameters of a test that has none: `test_it[NOTSET]`, `[NOTSET0]`."""


@dataclass(frozen=True, slots=True)
class NoBase:
    """Why there is nothing to compare with.

    Attributes:
        kind: `absent`: the test, or its measurement, is not there at the base; `skipped`: a marker
            says that it is not to be run there; `broken`: it is there, and was not measured.
        reason: for the report.
    """

    kind: Kind
    reason: str


def judged_without_base(
    judgements: Iterable[Judgement],
    budgets: Sequence[Budget],
    measurement: Measurement,
    no_base: NoBase,
) -> tuple[Judgement, ...]:
    """The judgements of a candidate alone: what has no baseline is NEW only if the base is absent.

    A comparison that could not be made is INCONCLUSIVE, however often it is repeated. So is one of
    a metric that the brief load of a duel does not yield: slots would have measured it.
    """
    absent = no_base.kind == "absent"
    unmeasured = {} if measurement.hung else measurement.refused
    return tuple(
        replace(
            judgement,
            verdict=Verdict.NEW if absent else Verdict.INCONCLUSIVE,
            reason=no_base.reason,
            lasting=not absent,
            base_broken=no_base.kind == "broken",
        )
        if judgement.verdict is Verdict.NEW or (budget.relative and judgement.metric in unmeasured)
        else judgement
        for budget, judgement in zip(budgets, judgements, strict=True)
    )


@dataclass(frozen=True, slots=True)
class ModuleSources:
    """The file of a test on both sides.

    Attributes:
        base: its text at the base; None if the base has no such file.
        same: whether the candidate's is equal.
    """

    base: str | None
    same: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """A failure or a skip, as a report tells it.

    Attributes:
        what: what happens to the test: `fails`, `cannot be set up`, `is skipped`.
        line: the error's own line, and where it was raised.
        text: all of the report, in which files may be named; None if the line explains itself.
        declared: whether a marker of the test demands it, whatever the conditions.
    """

    what: str
    line: str
    text: str | None
    declared: bool = False


@dataclass(slots=True)
class BaseCollection:
    """What a worker has collected.

    Attributes:
        tests: node ids.
        measuring: of those, the tests that ask for measurements.
        failed: by node id of a file, folder or class, why it could not be collected.
        skipped: likewise, why it was skipped as a whole.
        whole: why nothing could be collected; None if something could.
    """

    tests: frozenset[str] = frozenset()
    measuring: frozenset[str] = frozenset()
    failed: dict[str, Problem] = field(default_factory=dict)
    skipped: dict[str, Problem] = field(default_factory=dict)
    whole: Problem | None = None


def why_not_collected(
    test: str,
    ref: str,
    sources: ModuleSources,
    collection: BaseCollection,
    lacks: Callable[[], str],
) -> tuple[NoBase, str | None]:
    """Why the base has not collected a test.

    Args:
        test: its node id at the candidate.
        ref: the base, as the user calls it.
        sources: of the test's file.
        collection: of the base.
        lacks: says what the base's tree lacks that is no part of the commits; empty if nothing.

    Returns:
        The reason, and the `Problem.text` of the error behind it.
    """
    hindrance = _hindrance(test, ref, collection)
    if sources.base is None:
        broken = ""
    elif hindrance is not None:
        if may_define(sources.base, function_of(test)):
            return hindrance
        broken = ""
    else:
        broken = _left_out(test, sources, collection, lacks)
    if broken:
        return NoBase("broken", f"{broken} at {ref}"), ""
    return NoBase("absent", f"the test does not exist at {ref}"), ""


def _hindrance(test: str, ref: str, collection: BaseCollection) -> tuple[NoBase, str | None] | None:
    """What has kept the base from collecting the test's file."""
    file = test.partition("::")[0]
    if collection.whole is not None:
        return NoBase("broken", collection.whole.line), collection.whole.text
    for what, problems in (
        ("cannot be collected", collection.failed),
        ("is skipped", collection.skipped),
    ):
        problem = _above(test, problems)
        if problem is not None:
            return NoBase("broken", f"{file} {what} at {ref}: {problem.line}"), problem.text
    return None


def _left_out(
    test: str, sources: ModuleSources, collection: BaseCollection, lacks: Callable[[], str]
) -> str:
    """Why a test is not among those that the base has collected; empty if it is not there."""
    whole = test.partition("[")[0]
    alike = [each for each in collection.tests if each.partition("[")[0] == whole]
    if alike and all(each.startswith(whole + _EMPTY) for each in alike):
        return "the test has no parameters"
    if alike:
        return "the test has other parameters" if sources.same and lacks() else ""
    if defines(sources.base or "", function_of(test)):
        return "the test's function is there, but not collected,"
    return ""


def why_failed(problem: Problem, ref: str) -> NoBase:
    """Why a test that the base has collected has not come to its measurement."""
    reason = f"the test {problem.what} at {ref}: {problem.line}"
    return NoBase("skipped" if problem.declared else "broken", reason)


def why_not_measured(
    ref: str, sources: ModuleSources, *, measures: bool, others: bool, lacks: Callable[[], str]
) -> NoBase:
    """Why a test that ran to its end at the base has not made a measurement.

    Args:
        ref: the base, as the user calls it.
        sources: of the test's file.
        measures: whether the test asks for measurements there.
        others: whether it has made others.
        lacks: says what the base's tree lacks that is no part of the commits; empty if nothing.
    """
    if measures and not others:
        return NoBase("broken", f"the test ends without measuring at {ref}")
    silent = f"the test does not make this measurement at {ref}"
    return NoBase("broken" if measures and sources.same and lacks() else "absent", silent)


def made_in_other_order(ref: str) -> NoBase:
    """Why there is no base for a measurement that the base's test made before the candidate's."""
    silent = f"the test makes this measurement at {ref}, before one that is not made there"
    return NoBase("broken", f"{silent}: make it first here as well")


def last_words(output: str) -> str:
    """The end of what a process wrote; of Python's own report of a crash its beginning."""
    lines = [line for line in output.splitlines() if not line.startswith(_NOISE)]
    crashes = [number for number, line in enumerate(lines) if line.startswith(_CRASH)]
    shown = lines[crashes[-1] :][:_CRASH_LINES] if crashes else lines[-_LAST_LINES:]
    return "".join(f"\n    {line}" for line in shown if line.strip())


def function_of(test: str) -> str:
    """The name of a test's function.

    >>> function_of("tests/test_it.py::TestAll::test_one[a::b]")
    'test_one'
    """
    return test.partition("::")[2].partition("[")[0].rpartition("::")[2]


def defines(source: str, name: str) -> bool:
    """Whether a module defines a function of a name, anywhere."""
    tree = _parsed(source)
    return tree is not None and any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
        for node in ast.walk(tree)
    )


def may_define(source: str, name: str) -> bool:
    """Whether a module may have a function of a name: where that is in doubt, it may.

    It may be inherited, imported or made by an assignment.
    """
    tree = _parsed(source)
    if tree is None or re.search(rf"\b{re.escape(name)}\b", source):
        return True
    return any(
        (isinstance(node, ast.ClassDef) and node.bases)
        or (isinstance(node, ast.ImportFrom) and _imports_all(node) and node.module != _OURS)
        for node in ast.walk(tree)
    )


def _imports_all(node: ast.ImportFrom) -> bool:
    return any(alias.name == "*" for alias in node.names)


def _parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


def _above(test: str, problems: Mapping[str, Problem]) -> Problem | None:
    """The problem of a test's file, of a class or folder that it is in, or of all."""
    for node, problem in problems.items():
        # A package is named after its __init__.py.
        name = node.removesuffix("/__init__.py")
        if name in {"", ".", test} or test.startswith((f"{name}::", f"{name}/")):
            return problem
    return None


def problem_of(data: Mapping[str, Any]) -> Problem:
    """The problem that a report of pytest tells of, as plain values."""
    longrepr = data.get("longrepr")
    text = "\n".join(_strings(longrepr))
    if data.get("outcome") != "skipped":
        what = "cannot be set up" if data.get("when") == "setup" else "fails"
        return Problem(what, _error_line(longrepr), text)
    said = str(longrepr[-1]) if isinstance(longrepr, list | tuple) and longrepr else ""
    expected = data.get("wasxfail")
    if expected is not None:
        expected = expected.removeprefix("[NOTRUN] ").removeprefix("reason: ")
        return Problem("is marked xfail", expected or _error_line(longrepr), text, declared=True)
    declared = "skip" in data.get("keywords", {}) and data.get("when") == "setup"
    line = said.removeprefix("Skipped: ").strip().partition("\n")[0]
    return Problem("is skipped", line or "without a reason", text, declared)


def _strings(value: object) -> Iterable[str]:
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from _strings(inner)
        case list() | tuple():
            for inner in value:
                yield from _strings(inner)


def _error_line(longrepr: object) -> str:
    where = ""
    if isinstance(longrepr, dict):
        text = str((longrepr.get("reprcrash") or {}).get("message", ""))
        own = [place for place in _places(longrepr) if not _FOREIGN.search(place[0])]
        where = f" ({own[-1][0].rpartition('/')[2]}:{own[-1][1]})" if own else ""
    else:
        text = str(longrepr or "")
    lines = text.strip().splitlines()
    # A collection that failed is reported as a text, in which these lines are the error.
    errors = [line[1:].strip() for line in lines if line.startswith("E ")] or lines
    if not errors:
        return "without a word"
    # A syntax error begins with its place.
    return (errors[-1] if errors[0].startswith("File ") else errors[0]) + where


def _places(longrepr: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    """Files and lines of a traceback, the innermost last."""
    traceback = longrepr.get("reprtraceback") or {}
    for entry in traceback.get("reprentries", ()):
        place = (entry.get("data") or {}).get("reprfileloc")
        if place:
            yield str(place["path"]), place["lineno"]
