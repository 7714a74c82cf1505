"""Carrier: what a test measured travels on its last report, to all that report it.

An attribute of a report reaches the controller of pytest-xdist and the process that leads a duel,
as its properties do; but unlike these it is not in the JUnit file, which is for people.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import pytest

from pytest_dlperf.report.exports import BenchmarkMetadata, properties

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_dlperf.results.record import Record

CARGO: Final = pytest.StashKey[tuple[list[str], str]]()
"""Where a test keeps what its last report is to carry: its records and its facts, as JSON."""

_RECORDS: Final = "dlperf_records"
_FACTS: Final = "dlperf_facts"
_PREFIX: Final = "dlperf."


def load(item: pytest.Item, records: Sequence[Record], facts: BenchmarkMetadata) -> None:
    """Have a test's last report carry its records and facts, and give it its properties."""
    from pytest_dlperf.results.record import record_to_json

    # A test that is run again is another attempt, not another measurement.
    kept = [one for one in item.user_properties if not one[0].startswith(_PREFIX)]
    item.user_properties[:] = [*kept, *properties(records)]
    texts = [json.dumps(record_to_json(record)) for record in records]
    item.stash[CARGO] = texts, json.dumps(facts.to_json())


def attach(item: pytest.Item, report: pytest.TestReport) -> None:
    """Put what a test has loaded on its last report."""
    if report.when == "teardown" and CARGO in item.stash:
        records, facts = item.stash[CARGO]
        vars(report).update({_RECORDS: records, _FACTS: facts})


def records_of(report: pytest.TestReport) -> list[Record]:
    """What a test measured; empty for all reports but its last one."""
    return list(_decoded(tuple(vars(report).get(_RECORDS, ()))))


@lru_cache(maxsize=1)  # several plugins read the same report, one after the other
def _decoded(texts: tuple[str, ...]) -> tuple[Record, ...]:
    if not texts:
        return ()
    from pytest_dlperf.results.record import record_from_json

    return tuple(record_from_json(json.loads(text)) for text in texts)


def facts_of(report: pytest.TestReport) -> BenchmarkMetadata | None:
    """What is known of the test beside its records; None for all reports but its last one."""
    text = vars(report).get(_FACTS)
    return None if text is None else BenchmarkMetadata.from_json(json.loads(text))
