"""Prepares loads: compiles the target, and asks it for single rows as a reference."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pytest_dlperf._processes import call_with_timeout
from pytest_dlperf.data.position_scoring import labels_by_row
from pytest_dlperf.data.scoring import user_scores
from pytest_dlperf.errors import AnswerError, TargetError
from pytest_dlperf.measure.prepared import SEED, Instruments, PreparedLoad
from pytest_dlperf.measure.reference_answers import SingleRows, ask_alone
from pytest_dlperf.measure.scored_rows import RowLengthError, finite_scores, scored_of
from pytest_dlperf.measure.scorer import (
    lengths_of,
    measured_by_users,
    other_lengths,
    refuse_budgets,
    scoring_of_load,
    wrong_length,
)
from pytest_dlperf.measure.telemetry import FamilyMeter, descendants
from pytest_dlperf.targets.model_files import is_path, loaded
from pytest_dlperf.targets.target import batches_of, placed, prepare
from pytest_dlperf.trees import first_rows, read_only, taken

if TYPE_CHECKING:
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data


def prepare_load(target: object, data: Data, plan: Plan, instruments: Instruments) -> PreparedLoad:
    """Compile a target, choose the scorer of its answers, and ask it for single rows.

    Raises:
        UsageError: if the target cannot be measured, or a budget needs missing labels.
        TargetError: if the target's first call fails.
        DataError: if the labels do not fit the answers.
    """
    if data.labels is None:
        problem, hint = "the data has no labels", "give (inputs, labels), or drop the budget"
        refuse_budgets(plan, lambda metric: metric.of_answers, problem, hint)
    order = np.random.default_rng(SEED).permutation(len(data.inputs))
    if is_path(target):
        instruments.progress.show("loading the model", None)
        target = loaded(target, first_rows(data.inputs, 1))
    plan = batches_of(target, plan)
    longest = plan.served.max_batch_size
    # Read-only, as under load, so that a target that changes its input fails at once.
    rows = read_only(taken(data.inputs, np.resize(order, max(longest, len(order)))))
    instruments.progress.show("compiling", None)
    plan = placed(target, plan)
    prepared = prepare(target, first_rows(rows, longest), plan, instruments.clock)
    with contextlib.ExitStack() as undo:
        undo.callback(prepared.close)
        started = descendants() - {*prepared.processes}
        if prepared.processes or started:
            meter = FamilyMeter(instruments.meter, prepared.processes, started)
            instruments = replace(instruments, meter=meter)
        by_user = measured_by_users(plan)
        asked = np.resize(order, len(prepared.sample_parts[0]))
        layout, scorer = scoring_of_load(prepared.sample_parts, prepared.layout, data, asked, plan)
        prepared = replace(prepared, layout=layout)
        lengths = lengths_of(data.labels, layout)
        answer = scored_of(
            layout, prepared.sample_parts, None if lengths is None else lengths[asked]
        )
        if by_user and data.labels is not None:
            finite = np.flatnonzero(finite_scores(answer))
            outputs = layout.of_rows(prepared.sample_parts, answer, finite)
            labels = labels_by_row(taken(data.labels, asked[finite]))
            # A metric function that cannot score these answers must fail before the load.
            user_scores(outputs, labels, by_user, len(finite))
        instruments.progress.show("asking rows alone", None)
        try:
            reference, remark = call_with_timeout(
                plan.compile_timeout,
                lambda: ask_alone(
                    SingleRows(
                        prepared.replicas[0],
                        first_rows(rows, len(order)),
                        layout,
                        lengths=None if lengths is None else lengths[order],
                    ),
                    answer,
                    instruments.clock,
                ),
            )
        except AnswerError as error:
            raise TargetError(
                f"{prepared.description} hung when asked for single rows: {error}"
            ) from None
        except RowLengthError as error:
            raise wrong_length(int(order[error.row]), str(error)) from None
        undo.pop_all()
    parts = prepared.sample_parts
    other = other_lengths(data.inputs, lengths, parts, layout) if lengths is not None else ""
    remarks = tuple(filter(None, (scorer.assumed if scorer else "", remark, other)))
    return PreparedLoad(
        prepared, data, order, scorer, by_user, reference, remarks, plan, instruments
    )
