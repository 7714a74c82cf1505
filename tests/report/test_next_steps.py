"""What a failure proposes, where baselines are sessions of the history."""

from __future__ import annotations

import dataclasses

from builders import estimate, make_judgement, make_record

from pytest_dlperf.report.budget_table import failure_text
from pytest_dlperf.results.verdict import Verdict

LOST = make_judgement(
    Verdict.FAIL, measured=estimate(500.0), baseline=1000.0, limit=900.0, revision="c0ffee00"
)
FRESH = make_judgement(Verdict.NEW, measured=estimate(500.0), reason="nothing yet")


def test_a_loss_is_accepted_where_sessions_are_recorded() -> None:
    """On a branch `--dlperf-update` would change nothing; of files nothing of the kind is said."""
    of_files = failure_text(make_record(LOST), [LOST])
    record = dataclasses.replace(make_record(LOST), basis="history:main")
    of_history = failure_text(record, [LOST])

    where = "or accept it as the new baseline where its sessions are recorded:"
    assert where in of_history
    assert where not in of_files
    assert "or accept it as the new baseline:" in of_files


def test_nothing_is_to_be_recorded() -> None:
    """Every run is; whether it counts is what the hint in the summary is about."""
    of_files = failure_text(make_record(FRESH), [FRESH])
    record = dataclasses.replace(make_record(FRESH), basis="history:main")

    assert "--dlperf-update=new" in of_files
    assert "--dlperf-update" not in failure_text(record, [FRESH])
