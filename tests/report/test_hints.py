"""Advice on baselines: it fits where they come from."""

from __future__ import annotations

import dataclasses

import pytest
from builders import make_judgement, make_measurement

from pytest_dlperf.baselines.acceptance import BaselineComparison, decide_acceptance
from pytest_dlperf.report.hints import OF_FILES, advice_of_history, without_untracked
from pytest_dlperf.results.verdict import Judgement, Verdict

FRESH = make_judgement(Verdict.NEW, reason="nothing yet")
BETTER = make_judgement(Verdict.PASS, baseline=500.0, limit=500.0, improved=True)
OPEN = make_judgement(Verdict.INCONCLUSIVE, baseline=1000.0, fails_at=900.0)
OTHER = make_judgement(Verdict.INCONCLUSIVE, baseline=1000.0, lasting=True)


@pytest.mark.parametrize(
    ("obstacle", "judgement", "sessions", "hint"),
    [
        ("", FRESH, 0, "recorded in the history: the next run is compared with this one"),
        ("", FRESH, 3, "recorded in the history: the next run is compared with this one"),
        ("", OTHER, 3, "recorded in the history: the next run is compared with this one"),
        ("", OPEN, 3, "the baseline has 3 of 8 sessions: each run adds one, and more of them"),
        ("", BETTER, 3, "better than the baseline (throughput): hold it with\npytest"),
        ("feature", FRESH, 0, "run it on branch main with the same --dlperf-history"),
        ("feature", OTHER, 3, "run it on branch main with the same --dlperf-history"),
        ("feature", OPEN, 3, "the baseline has 3 of 8 sessions: each run on branch main adds one"),
        ("feature", BETTER, 3, "better than the baseline (throughput)"),
    ],
)
def test_hints(obstacle: str, judgement: Judgement, sessions: int, hint: str) -> None:
    """They name what works: a run of the right code, not an option that writes files."""
    comparison = BaselineComparison(sessions, advice=advice_of_history("branch main", obstacle))

    text = decide_acceptance(None, make_measurement(), (judgement,), comparison).hint

    assert text.startswith(hint)
    assert ("--dlperf-update" in text) is (judgement is BETTER and not obstacle)


def test_advice_of_files() -> None:
    """Each names an option that users can give."""
    texts = dataclasses.astuple(OF_FILES)[:-1]
    assert all("--dlperf-update=" in text for text in texts)
    assert OF_FILES.ratchets


def test_advice_of_a_history() -> None:
    """No option records there: a run does, if it is of the right code."""
    here, elsewhere = (
        advice_of_history("branch main", ""),
        advice_of_history("branch main", "it is not"),
    )

    for advice in (here, elsewhere):
        assert not any("--dlperf-update" in str(text) for text in dataclasses.astuple(advice))
    assert "the next run is compared with this one" in here.record
    assert elsewhere.record == "run it on branch main with the same --dlperf-history"
    assert (here.ratchets, elsewhere.ratchets) == (True, False)


def test_what_git_does_not_track() -> None:
    """The first names, and the option for one of them."""
    names = ("data/", "weights.h5", "a", "b")
    assert without_untracked(names) == (
        "without data/, weights.h5, a, and 1 more, which git does not track; if a test reads it, "
        "bring it along: --dlperf-against-carry=data/"
    )
