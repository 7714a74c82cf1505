"""Review: what is proposed, and how often unchanged code is."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import MACHINE, REVISION, continued, estimate, make_accepted, with_session
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.baselines.review import Proposal, of_newest_runs, proposals
from pytest_dlperf.history.entries import Entry, Run
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate

if TYPE_CHECKING:
    from pytest_dlperf.results.baseline import BaselineEntry


def _entry(
    measured: BaselineEntry,
    run: int = 1,
    test: str = "t",
    name: str = "",
    verdict: Verdict = Verdict.PASS,
) -> Entry:
    at = Run(f"{run:032x}", float(run), MACHINE, measured.revision)
    return Entry(at, test, name, verdict, measured)


def _measured(**metrics: float) -> BaselineEntry:
    commit = dataclasses.replace(REVISION, commit="new", date="2026-11-24")
    values = {name: estimate(value, 0.005) for name, value in metrics.items()}
    return make_accepted(values, revision=commit)


OLD = make_accepted(
    {"throughput": estimate(1000.0, 0.005), "p50": estimate(0.01, 0.005)},
    earlier=tuple(
        make_accepted(
            {
                "throughput": estimate(1000.0 * ratio, 0.005),
                "p50": estimate(0.01 * ratio, 0.005),
            }
        ).newest
        for ratio in (0.99, 1.0, 1.01, 1.02, 0.98)
    ),
)


SAME = _measured(throughput=1000.0, p50=0.01)


def _proposed(measured: BaselineEntry, verdict: Verdict = Verdict.PASS) -> tuple[Proposal, ...]:
    return proposals([_entry(measured, verdict=verdict)], {("t", ""): OLD})


@pytest.mark.parametrize(
    ("measured", "reasons"),
    [
        (SAME, ()),
        (_measured(throughput=2000.0, p50=0.01), ("better beyond the noise: throughput",)),
        (_measured(throughput=1000.0, p50=0.02), ("worse beyond the noise: p50",)),
        (
            _measured(throughput=500.0, p50=0.005),
            ("worse beyond the noise: throughput", "better beyond the noise: p50"),
        ),
        (
            dataclasses.replace(
                _measured(throughput=1000.0, p50=0.01), serving="Serving(replicas=2)"
            ),
            ("it was measured under other conditions",),
        ),
    ],
)
def test_reasons(measured: BaselineEntry, reasons: tuple[str, ...]) -> None:
    """Losses, gains and other conditions are worth a look; the noise is not."""
    given = (reason for proposal in _proposed(measured) for reason in proposal.reasons)
    assert tuple(given) == reasons


def test_a_failed_test_is_worth_a_look() -> None:
    """Though no metric differs: its budgets may."""
    (proposal,) = _proposed(SAME, Verdict.FAIL)

    assert not proposal.obstacle
    assert "its test failed" in proposal.reasons[0]


def test_what_says_nothing_cannot_be_accepted() -> None:
    """However it compares."""
    (proposal,) = _proposed(_measured(throughput=2000.0), Verdict.INVALID)
    assert proposal.obstacle


def test_what_was_accepted_already_is_settled() -> None:
    """Even rounded, as files keep it, and even where its sessions since differ from it."""
    measured = _measured(throughput=2000.123456789, p50=0.005)
    rounded = with_session(
        measured,
        metrics={**measured.metrics, "throughput": Estimate(2000.12, 1990.12, 2010.12)},
    )
    exact = Estimate(2000.1249, 1990.1151, 2010.1199)
    measured = with_session(measured, metrics={**measured.metrics, "throughput": exact})
    accepted = continued((*OLD.sessions[:-1], rounded.newest), OLD)

    assert not proposals([_entry(measured)], {("t", ""): accepted})
    assert proposals([_entry(measured)], {("t", ""): OLD})


def test_unchanged_code_is_hardly_ever_proposed() -> None:
    """Of 200 reviews of unchanged code with 5 % noise between sessions, about 2 % show anything."""
    generator = np.random.default_rng(3)

    def session() -> BaselineEntry:
        value = 1000.0 * math.exp(generator.normal(0, 0.05))
        return _measured(throughput=value, p50=0.01 * math.exp(generator.normal(0, 0.05)))

    shown = 0
    for _ in range(200):
        old = continued([session().newest for _ in range(7)], session())
        shown += bool(proposals([_entry(session())], {("t", ""): old}))
    assert shown <= 8


def test_a_slower_session_on_a_machine_that_was_not_quiet() -> None:
    """It is no proposal: nothing is known of the code."""
    slower = _entry(_measured(throughput=300.0, p50=0.03))
    noisy = dataclasses.replace(slower, noise="the machine was not quiet")

    assert proposals([slower], {("t", ""): OLD})
    assert not proposals([noisy], {("t", ""): OLD})


_RUNS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["", "x"])), unique=True)


@given(st.lists(_RUNS, max_size=5))
def test_the_newest_run_of_each_test(runs: list[list[tuple[str, str]]]) -> None:
    """All it measured of a test is kept, nothing of an earlier run of that test."""
    entries = [
        _entry(make_accepted(), run, test, name)
        for run, measured in enumerate(runs, start=1)
        for test, name in measured
    ]

    kept = of_newest_runs(reversed(entries))

    newest = {entry.test: entry.run.key for entry in entries}
    wanted = {(entry.test, entry.name) for entry in entries if newest[entry.test] == entry.run.key}
    assert [(entry.test, entry.name) for entry in kept] == sorted(wanted)
    assert all(entry.run.key == newest[entry.test] for entry in kept)


def test_what_becomes_of_it() -> None:
    """One session, which is its own anchor until it follows on what is stored."""
    measured = dataclasses.replace(continued(OLD.sessions, _measured(throughput=2000.0)), changes=3)
    (proposal,) = proposals([_entry(measured)], {})

    accepted = proposal.accepted

    assert accepted.sessions == (measured.newest,)
    assert (accepted.anchor, accepted.changes) == (measured.newest, 0)
    anchored = dataclasses.replace(OLD, anchor=OLD.sessions[0], changes=4)
    assert accepted.following(anchored).anchor == OLD.sessions[0]
    assert accepted.following(anchored).changes == 5
