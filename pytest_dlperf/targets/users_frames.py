"""Errors of targets as their authors need them: the frames of their own code, without libraries."""

from __future__ import annotations

import functools
import sysconfig
from types import TracebackType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN: Final = __file__.rpartition("/targets/")[0]
_FOREIGN: Final = (
    "/site-packages/",
    "/dist-packages/",
    "/__autograph_generated_file",  # TensorFlow's rewriting; its message quotes the user's line
)


def cause_in_users_code(error: Exception) -> Exception | None:
    """The cause to raise from: the error with the frames of the user's own code only.

    A framework's own frames, some hundred lines, tell less than the message. So do the errors
    that the framework has translated.

    Returns:
        None if no frame is the user's, as with data that a built-in layer refuses.
    """
    trace = None
    for frame in reversed(list(frames_of(error))):
        if is_users(frame.tb_frame.f_code.co_filename):
            trace = TracebackType(trace, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    if trace is None:
        return None
    error.__cause__ = None
    error.__suppress_context__ = True
    return error.with_traceback(trace)


def in_users_code(error: Exception) -> bool:
    """Whether an error has a frame of the user's own code."""
    return any(is_users(frame.tb_frame.f_code.co_filename) for frame in frames_of(error))


def is_users(file: str) -> bool:
    """Whether code is neither of Python, of an installed package nor of this one."""
    if file.startswith("<") or any(part in file for part in _FOREIGN):
        return False
    return not any(file.startswith(f"{folder}/") for folder in _folders())


def frames_of(error: Exception) -> Iterator[TracebackType]:
    """The frames of an error, the outermost first."""
    trace = error.__traceback__
    while trace is not None:
        yield trace
        trace = trace.tb_next


@functools.cache
def _folders() -> tuple[str, ...]:
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    return (_OWN, *(sysconfig.get_path(kind) for kind in kinds))
