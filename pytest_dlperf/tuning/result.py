"""Results of a study: its trials, finalists, effects and recommendation."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.tuning.goal import Measured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_dlperf.results.row_evidence import Rows, RowScores
    from pytest_dlperf.results.verdict import Judgement
    from pytest_dlperf.statistics.estimate import Estimate
    from pytest_dlperf.tuning.configuration import Configuration, Knob, Setup
    from pytest_dlperf.tuning.goal import Goal

WEIGHED: Final = ("throughput", "p99", "accuracy", "model_size", "train.time")
"""The metrics of the Pareto front."""

Basis: TypeAlias = Literal["pairs", "least squares"]


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The trial of one configuration: measured, failed, or skipped.

    Attributes:
        configuration: of the trial.
        metrics: by name; empty if it failed or was skipped.
        failed: why it has no metrics, such as a training that diverged; empty if it has.
        skipped: why there is no such setup, since its values do not go together.
        seconds: duration of the trial.
        rows: which rows were answered rightly; the evidence for accuracy.
        scores: of each row by users' metrics.
        notes: for readers.
    """

    configuration: Configuration
    metrics: Mapping[str, Estimate] = field(default_factory=lambda: MappingProxyType({}))
    failed: str = ""
    skipped: str = ""
    seconds: float = 0.0
    rows: Rows | None = None
    scores: RowScores | None = None
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> Measured | None:
        """Its measurements for constraints; None if it failed or was skipped."""
        if self.failed or self.skipped:
            return None
        return Measured(self.metrics, self.rows, self.scores)


@dataclass(frozen=True, slots=True)
class Finalist:
    """A configuration that the judge compared with the setup without tuning.

    Attributes:
        configuration: of the finalist.
        gain: the objective over that of the setup without tuning, as a ratio; of a share the
            difference. None if it could not be compared.
        verdict: PASS if it is proven better and within the constraints, FAIL if it is proven
            worse or breaks a constraint, else why that is open.
        judgements: on the objective and on each constraint.
        metrics: as measured in the comparison; may be empty.
        reason: why it is no PASS; may be empty.
        seconds: duration of the comparison.
    """

    configuration: Configuration
    gain: Estimate | None
    verdict: Verdict
    judgements: tuple[Judgement, ...] = ()
    metrics: Mapping[str, Estimate] = field(default_factory=lambda: MappingProxyType({}))
    reason: str = ""
    seconds: float = 0.0

    @property
    def proven(self) -> bool:
        """Whether it is proven better, within the constraints."""
        return self.verdict is Verdict.PASS


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of one value of a knob on one metric.

    Attributes:
        knob: its name.
        value: the value, as text.
        default: the value without tuning, as text.
        metric: its name.
        change: the ratio of the metric minus one; of a share the difference.
        basis: how it was estimated.
        count: pairs of trials that differ in this value alone, or trials with this value.
    """

    knob: str
    value: str
    default: str
    metric: str
    change: Estimate
    basis: Basis
    count: int


@dataclass(frozen=True, slots=True)
class Tuned:
    """The result of a study; `print` shows it as a table.

    Attributes:
        test: pytest's node id of the test, with the study's name if it has one.
        goal: objective and constraints.
        knobs: each with its value without tuning first.
        base: the setup without tuning.
        trials: in their order; the first is the setup without tuning.
        finalists: configurations that the judge compared with it.
        recommended: the best finalist; the setup without tuning if none is proven better.
        setup: of the recommended configuration.
        reason: why it is recommended, in words.
        effects: of each value of a knob on each metric.
        scenario: the traffic, as text.
        answers: further arguments of the marker, on answers and labels, as code; a comment of what
            cannot be written.
        search: how configurations were chosen, as text.
        seconds: duration of the study.
        resumed: number of trials taken over from an earlier run.
        notes: for readers.
        table: the trials as text.
    """

    test: str
    goal: Goal
    knobs: tuple[Knob, ...]
    base: Setup
    trials: tuple[TrialResult, ...]
    finalists: tuple[Finalist, ...]
    recommended: Configuration
    setup: Setup
    reason: str
    effects: tuple[Effect, ...]
    scenario: str
    search: str
    seconds: float
    resumed: int = 0
    notes: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    table: str = field(default="", repr=False, compare=False)

    @property
    def default(self) -> Configuration:
        """The configuration without tuning."""
        return self.trials[0].configuration

    @property
    def improved(self) -> bool:
        """Whether something is proven better than the setup without tuning."""
        return self.recommended != self.default

    @property
    def winner(self) -> Finalist | None:
        """The recommended finalist; None if the setup without tuning is recommended."""
        if not self.improved:
            return None
        return next(f for f in self.finalists if f.configuration == self.recommended)

    def trial_of(self, configuration: Configuration) -> TrialResult:
        """The trial of a configuration; a KeyError if there is none."""
        for trial in self.trials:
            if trial.configuration == configuration:
                return trial
        raise KeyError(str(configuration))

    def __str__(self) -> str:
        return self.table
