"""Records, metadata and studies of a test, attached to its last report.

Attributes of reports reach the controllers of pytest-xdist and of duels, as user properties do;
unlike these they are not in the JUnit file, which is for people.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_dlperf.report.exports import BenchmarkMetadata, properties
from pytest_dlperf.results.codec import fields_from_json, fields_to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_dlperf.results.record import Record

_ATTRIBUTES: Final[pytest.StashKey[dict[str, object]]] = pytest.StashKey()
"""Where a test keeps the attributes of its last report."""

_RECORDS: Final = "dlperf_records"
_METADATA: Final = "dlperf_facts"
_TUNED: Final = "dlperf_tunings"
_PROPERTY_PREFIX: Final = "dlperf."


def load_records(item: pytest.Item, records: Sequence[Record], metadata: BenchmarkMetadata) -> None:
    """Attach records and metadata to a test's last report, and set its user properties."""
    from pytest_dlperf.results.record import record_to_json

    # A test that is run again is another attempt, not another measurement.
    others = [pair for pair in item.user_properties if not pair[0].startswith(_PROPERTY_PREFIX)]
    item.user_properties[:] = [*others, *properties(records)]
    item.stash.setdefault(_ATTRIBUTES, {}).update(
        {
            _RECORDS: [json.dumps(record_to_json(record)) for record in records],
            _METADATA: json.dumps(fields_to_json(metadata)),
        }
    )


def load_studies(item: pytest.Item, studies: Sequence[Mapping[str, object]]) -> None:
    """Attach studies, as plain values, to a test's last report."""
    if studies:
        texts = [json.dumps(study) for study in studies]
        item.stash.setdefault(_ATTRIBUTES, {})[_TUNED] = texts


def attach(item: pytest.Item, report: pytest.TestReport) -> None:
    """Put the loaded attributes on a test's last report."""
    if report.when == "teardown" and _ATTRIBUTES in item.stash:
        attributes = item.stash[_ATTRIBUTES]  # its type is lost in an argument
        vars(report).update(attributes)


def records_of(report: pytest.TestReport) -> list[Record]:
    """The records of a test; empty for all reports but its last one."""
    return list(_decoded(tuple(vars(report).get(_RECORDS, ()))))


@lru_cache(maxsize=1)  # several plugins read the same report, one after the other
def _decoded(texts: tuple[str, ...]) -> tuple[Record, ...]:
    if not texts:
        return ()
    from pytest_dlperf.results.record import record_from_json

    return tuple(record_from_json(json.loads(text)) for text in texts)


def metadata_of(report: pytest.TestReport) -> BenchmarkMetadata | None:
    """The metadata of a test; None for all reports but its last one."""
    text = vars(report).get(_METADATA)
    return None if text is None else fields_from_json(BenchmarkMetadata, json.loads(text))


def studies_of(report: pytest.TestReport) -> list[Mapping[str, Any]]:
    """The studies of a test; empty for all reports but its last one."""
    return [json.loads(text) for text in vars(report).get(_TUNED, ())]
