"""Files and modules that errors name."""

from __future__ import annotations

import pytest

from pytest_dlperf.duel.named_files import modules_in, paths_in


@pytest.mark.parametrize(
    ("error", "path"),
    [
        (
            "FileNotFoundError: [Errno 2] No such file or directory: 'data/rows.npy'",
            "data/rows.npy",
        ),
        (
            "[Errno 2] No such file or directory: PosixPath('/w/base/data/a b.npy')",
            "/w/base/data/a b.npy",
        ),
        ("OSError: Unable to open file (name = 'weights.h5', errno = 2)", "weights.h5"),
        ("RuntimeError: /w/base/lib.so: cannot open shared object file", "/w/base/lib.so"),
        ("NOT_FOUND: data/rows; No such file", "data/rows"),
        ('could not open "model.onnx".', "model.onnx"),
    ],
)
def test_paths(error: str, path: str) -> None:
    """Quoted or not, with blanks, and with punctuation after them."""
    assert path in paths_in(error)


def test_no_paths() -> None:
    """Words and ends of sentences are none; a long text is not searched for ever."""
    assert paths_in("AssertionError: it is wrong. And so on...") == ()
    assert len(paths_in("".join(f"a/{number} " for number in range(9999)))) == 500


@pytest.mark.parametrize(
    ("error", "modules"),
    [
        ("ModuleNotFoundError: No module named 'a.b'", ("a.b",)),
        ("cannot import name 'b' from 'a' (/x/a/__init__.py)", ("a.b",)),
        ("cannot import name 'b' from partially initialized module 'a.c' (most likely", ("a.c.b",)),
        ("ImportError: something else", ()),
    ],
)
def test_modules(error: str, modules: tuple[str, ...]) -> None:
    """The module that lacks, whichever way it is imported."""
    assert modules_in(error) == modules
