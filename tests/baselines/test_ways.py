"""What is hinted at where baselines are sessions of the history."""

from __future__ import annotations

import pytest
from builders import make_judgement, make_measurement

from pytest_dlperf.baselines.acceptance import BaselineComparison, decide_acceptance
from pytest_dlperf.config.baseline_source import advice_of_history
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
    """They say what works there: a run of the right code, not an option that writes files."""
    standing = BaselineComparison(sessions, ways=advice_of_history("branch main", obstacle))

    said = decide_acceptance(None, make_measurement(), (judgement,), standing).hint

    assert said.startswith(hint)
    assert ("--dlperf-update" in said) is (judgement is BETTER and not obstacle)
