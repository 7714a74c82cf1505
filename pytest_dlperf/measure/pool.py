"""Pool: what several loads of one target found out about its answers together."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_dlperf.errors import TargetError
from pytest_dlperf.measure.measure import rows_of, run_once, scores_of, summarise_answers
from pytest_dlperf.measure.prepared import SEED
from pytest_dlperf.results.gpus import gpu_notes
from pytest_dlperf.results.measurement import ErrorCount, Measurement
from pytest_dlperf.results.usage import Usage, consumption, disturbance
from pytest_dlperf.statistics.estimate import counted

if TYPE_CHECKING:
    from pytest_dlperf.load.summary import Score
    from pytest_dlperf.measure.prepared import Loaded, Rig
    from pytest_dlperf.results.gpus import GpuUse


class Pool:
    """Runs loads, each under a plan of its own, and keeps what does not depend on the load.

    Args:
        rig: the target.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._seconds = 0.0
        self._requests = 0
        self._answered = 0
        self._bad = 0
        self._errors: dict[str, ErrorCount] = {}
        self._score: Score | None = None
        self._resident: list[int] = []
        self._gpus: tuple[GpuUse, ...] = ()
        self._gpu_notes: dict[str, None] = {}
        self._used = Usage(0.0, 0.0, 0.0, 0.0)

    def run(self, rig: Rig, seconds: float, phase: str = "", seed: int = SEED) -> Loaded:
        """Put the target under one load; the arguments are `run_once`'s.

        Raises:
            UsageError: if no request became due.
            TargetError: if a call does not return: further loads would only wait for it again.
        """
        run = run_once(rig, seconds, phase, seed)
        if run.hung:
            raise TargetError(
                f"{rig.prepared.description} hung under {rig.plan.scenario}: {run.hung}"
            )
        tally = run.tally
        self._seconds += tally.span_ns * 1e-9
        self._requests += tally.total
        self._answered += tally.answered
        self._bad += tally.answered - tally.good
        self._resident = [max(self._resident + run.resident), run.resident[-1]]
        self._gpus = run.gpus
        self._gpu_notes |= dict.fromkeys(gpu_notes(run.gpus))
        self._used = self._used.plus(run.used)
        for error in run.errors:
            known = self._errors.get(error.kind, replace(error, requests=0))
            self._errors[error.kind] = replace(known, requests=known.requests + error.requests)
        if run.score is not None:
            self._score = self._score.plus(run.score) if self._score else run.score
        return run

    def measurement(self, test: str, name: str, scenario: str, serving: str) -> Measurement:
        """What all loads found out together; at least one was run.

        `errors` is the share of the answered requests that were answered badly: that a queue
        overflows is for each load to judge.
        """
        rig, answers = self._rig, summarise_answers(self._score)
        busy_cores = self._used.process / max(self._seconds, 1e-9)
        notes = (rig.prepared.remark, rig.remark, disturbance(self._used), *self._gpu_notes)
        metrics = {
            "errors": counted(self._bad / self._answered),
            **answers.metrics,
            "peak_memory": counted(float(max(self._resident))),
            "compile_time": counted(rig.prepared.compile_seconds),
        }
        return Measurement(
            test=test,
            name=name,
            target=rig.prepared.description,
            scenario=scenario,
            serving=serving,
            seconds=self._seconds,
            requests=self._requests,
            metrics=MappingProxyType(metrics),
            refused=MappingProxyType(answers.refused),
            errors=tuple(sorted(self._errors.values(), key=lambda error: -error.requests)),
            rows=rows_of(rig.data, self._score),
            scores=scores_of(rig.data, self._score),
            invalid="",
            notes=tuple(filter(None, notes)),
            diagnosis="",
            usage=consumption(self._used, busy_cores, self._resident, self._requests),
            gpus=self._gpus,
        )
