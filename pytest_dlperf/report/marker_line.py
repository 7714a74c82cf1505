"""Marker line: where in a file the dlperf marker of a test stands."""

from __future__ import annotations

import ast

from pytest_dlperf.config.markers import MEASURES


def marker_line(source: str, first: int) -> int:
    r"""The line of a test's own dlperf marker, else that of its `def`, else the one given.

    Args:
        source: of the module.
        first: the line at which the test's function begins, its decorators included.

    >>> marker_line("@pytest.mark.slow\n@pytest.mark.dlperf('p99 <= 1s')\ndef test_it(): ...", 1)
    2
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return first
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if first in {node.lineno, *(one.lineno for one in node.decorator_list)}:
            marks = (one.lineno for one in node.decorator_list if _name(one) == MEASURES)
            return next(marks, node.lineno)
    return first


def _name(decorator: ast.expr) -> str:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    match function:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""
