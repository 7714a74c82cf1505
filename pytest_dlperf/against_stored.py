"""Against what was stored: a measurement is taken alone, and held against accepted ones."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.core.acceptance import decide_acceptance
from pytest_dlperf.core.baseline import accept
from pytest_dlperf.core.judge import judge
from pytest_dlperf.core.record import Record
from pytest_dlperf.measuring import Finding

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pytest_dlperf.adapters.files import BaselineFiles
    from pytest_dlperf.core.baseline import Accepted, Revision
    from pytest_dlperf.core.environment import Environment
    from pytest_dlperf.core.measurement import Measurement
    from pytest_dlperf.core.options import Update
    from pytest_dlperf.core.plan import Plan
    from pytest_dlperf.measuring import Subject

_CI_GUARD: Final = "not recorded in CI; --dlperf-update-in-ci allows it"


@dataclass(frozen=True, slots=True)
class AgainstStored:
    """An arena in which a test measures alone.

    Attributes:
        store: the baselines of this machine class.
        environment: asks for the software of this process.
        revision: asks for the code that is being measured.
        machine: the machine class, as a name.
        update: which baselines may be written.
        ci_guard: whether baselines that would be written are not, because this is CI.
    """

    store: BaselineFiles
    environment: Callable[[], Environment]
    revision: Callable[[], Revision]
    machine: str
    update: Update | None
    ci_guard: bool

    def settle(
        self, subject: AbstractContextManager[Subject], plan: Plan, test: str, name: str
    ) -> Finding:
        """Measure, and judge against what was accepted before.

        Raises:
            BaselineError: if the stored baseline cannot be read.
            UsageError, DataError, TargetError: if the target cannot be measured.
        """
        __tracebackhide__ = True
        # Read before measuring, so that a damaged file costs no measuring time.
        stored = None if plan.quick else self.store.load(test)
        with subject as ready:
            found = ready.measure(test, name, plan.load_seconds)
        return self._judge(found, plan, stored.accepted.get(name) if stored else None)

    def floor(self) -> AbstractContextManager[None]:
        """Nobody else measures."""
        return nullcontext()

    def keep(self, test: str, name: str, accepted: Accepted) -> None:
        """Write a baseline.

        Raises:
            BaselineError: if it cannot be written.
        """
        self.store.save(test, name, accepted)

    def _judge(self, found: Measurement, plan: Plan, old: Accepted | None) -> Finding:
        environment = self.environment()
        missing = f"no baseline yet on this machine class ({self.machine})"
        judgements = judge(found, plan.judged, old, environment, missing)
        if plan.quick:
            return Finding(Record(found, judgements, (), quick=True), None)
        update = None if self.ci_guard else self.update
        decision = decide_acceptance(update, found, judgements, known=old is not None)
        hint = _CI_GUARD if self.ci_guard else decision.hint
        hints = (hint,) if hint else ()
        accepted = accept(found, environment, self.revision()) if decision.save else None
        return Finding(Record(found, decision.judgements, hints, quick=False), accepted)
