"""Exceptions with their fields; their texts are composed here only."""

from __future__ import annotations

import re
from typing import Final

_LONGEST: Final = 300  # characters of another one's message
_NOISE: Final = re.compile(  # colours, and names that TensorFlow gives to parts of a graph
    r"\x1b\[[0-9;]*m|\{\{function_node [^}]*\}\}|\[\[\{\{node [^}]*\}\}\]\]|\[Op:[^\]]*\]"
)


class DlperfError(Exception):
    """Base of every error that this package raises on purpose."""


class DlperfWarning(UserWarning):
    """A budget could not be judged, or a result needs care."""


class UsageError(DlperfError, ValueError):
    """A request of the user that makes no sense.

    Attributes:
        problem: what is wrong, with the offending value.
        hint: what to do instead; may be empty.
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        self.problem = problem
        self.hint = hint
        super().__init__(f"{problem}\n  {hint}" if hint else problem)


class BudgetSyntaxError(UsageError):
    """A budget that cannot be read; the text marks the place.

    Attributes:
        text: the whole budget as written.
        start: index of the first wrong character in `text`.
        length: how many characters are wrong (at least one is marked).
    """

    def __init__(self, text: str, start: int, length: int, problem: str, hint: str = "") -> None:
        self.text = text
        self.start = start
        self.length = max(1, length)
        marked = f"{problem}\n    {text}\n    {' ' * start}{'^' * self.length}"
        super().__init__(marked, hint)


class DataError(DlperfError, ValueError):
    """Evaluation or training data that cannot be used; names the first bad row."""


class TargetError(DlperfError):
    """The target cannot be called at all, so there is nothing to measure."""


class TrainingError(DlperfError):
    """A training whose loss, or whose model's answers, are not finite.

    Attributes:
        problem: what is not finite, and in which epoch.
        settings: of the training.
    """

    def __init__(self, problem: str, settings: str) -> None:
        self.problem = problem
        self.settings = settings
        super().__init__(
            f"training diverged: {problem}\n"
            f"  trained with {settings}\n"
            "  lower the learning rate, begin it with a warm-up, or normalise the inputs"
        )


class AnswerError(DlperfError):
    """A request without an answer, for a known reason.

    Attributes:
        kind: by which errors are counted, such as `no answer`.
        detail: of this error, for the report.
    """

    def __init__(self, kind: str, detail: str) -> None:
        self.kind = kind
        self.detail = detail
        super().__init__(detail)


class RemoteError(AnswerError):
    """A model server that gave no valid answer; requests are never sent again.

    Attributes:
        kind: by which errors are counted: `timeout`, `connection refused`, `connection failed`,
            `TLS failed`, `connection closed` (before any of the answer), `half an answer`,
            `malformed request`, `malformed answer`, `wrong shape`, or `status` and what the server
            says (`status 503`, `status NOT_FOUND`).
        detail: of this error, for the report.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.args = (f"{kind}: {detail}",)


def kind_of(error: Exception) -> str:
    """The kind by which an exception is counted: that of an `AnswerError`, or its type."""
    return error.kind if isinstance(error, AnswerError) else type(error).__name__


def in_a_line(error: Exception) -> str:
    """The kind of an exception, and the first line of its message."""
    first = str(error).strip().partition("\n")[0]
    return f"{kind_of(error)}: {first:.300}" if first else kind_of(error)


def message_of(error: Exception) -> str:
    """The kind and the message of an exception in one line, without colours and names of graphs."""
    message = " ".join(_NOISE.sub("", str(error)).split())
    return f"{kind_of(error)}: {message}"[:_LONGEST]


class BaselineError(DlperfError):
    """A stored baseline that cannot be used as it stands.

    Attributes:
        path: the file.
        problem: what is wrong with it.
        hint: what to do.
    """

    def __init__(self, path: str, problem: str, hint: str) -> None:
        self.path = path
        self.problem = problem
        self.hint = hint
        super().__init__(f"baseline {path}: {problem}\n  {hint}")


class HistoryError(DlperfError):
    """A history that cannot be used as it stands.

    Attributes:
        place: the database, without any secret.
        problem: what is wrong with it.
        hint: what to do.
    """

    def __init__(self, place: str, problem: str, hint: str) -> None:
        self.place = place
        self.problem = problem
        self.hint = hint
        super().__init__(f"history {place}: {problem}\n  {hint}")


class DuelError(DlperfError):
    """A duel that cannot judge a measurement: one of the two sides was lost or failed."""


class OneLayoutError(DlperfError):
    """A target that cannot be placed anew in memory, so that one layout is all that it shows.

    Attributes:
        why: what of it cannot be copied.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class BudgetFailure(DlperfError, AssertionError):  # noqa: N818 - a failed assertion, not an error of the run
    """At least one budget is broken; the message is the report of the measurement.

    Attributes:
        broken: the budgets that are broken, as the user wrote them.
    """

    __module__ = "pytest_dlperf"  # its public name, and short enough for pytest's summary line

    def __init__(self, broken: tuple[str, ...], report: str) -> None:
        self.broken = broken
        super().__init__(report)
