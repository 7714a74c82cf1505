"""What goes wrong in one worker, kept for the controller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_dlperf.duel.no_base import BaseCollection, Problem, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.duel.worker_handle import Fields


@dataclass(frozen=True, slots=True)
class FailedTeardown:
    """Of a test: its node id, and the error's own line."""

    test: str
    line: str


class FailureLog:
    """Takes the notices of a worker, and keeps its failures.

    Args:
        forward: takes the notices too; None if nobody reports the worker's tests.

    Attributes:
        problem: why the present test failed or was skipped; None if it was not.
        torn_down: how a teardown has failed that is not reported; None if none has.
        collection: what was collected, and what was not.
    """

    def __init__(self, forward: Callable[[Fields], None] | None) -> None:
        self._forward = forward
        self.problem: Problem | None = None
        self.torn_down: FailedTeardown | None = None
        self.collection = BaseCollection()

    def __call__(self, fields: Fields) -> None:
        """Take a notice."""
        if fields["is"] == "teardown":
            self.torn_down = FailedTeardown(fields["test"], fields["line"])
            return
        data = fields.get("data", {})
        if data.get("outcome") in {"failed", "skipped"}:
            problem = problem_of(data)
            if fields["is"] == "report":
                self.problem = self.problem or problem
                if self._forward is None and data["when"] == "teardown" and problem.what == "fails":
                    self.torn_down = FailedTeardown(data["nodeid"], problem.line)
            elif data["outcome"] == "failed":
                self.collection.failed[data["nodeid"]] = problem
            else:
                self.collection.skipped[data["nodeid"]] = problem
        if self._forward is not None:
            self._forward(fields)
