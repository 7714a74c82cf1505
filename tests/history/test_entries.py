"""Which entries a run records, and which of them are a baseline."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from builders import (
    ENVIRONMENT,
    estimate,
    make_accepted,
    make_judgement,
    make_measurement,
    make_record,
    numbered,
    pace,
)
from entries import make_entry, make_run
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.history.entries import Selection, baseline_of, entry_of
from pytest_dlperf.results.measurement import CallCounts
from pytest_dlperf.results.usage import Consumption
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.history.entries import Entry
    from pytest_dlperf.results.record import Keeping

RUN = make_run()


def _entry(number: int, *, scenario: str = "", renews: bool = False) -> Entry:
    return make_entry(
        run=make_run(number), scenario=scenario, yardstick=float(number), renews=renews
    )


def _numbers(newest_first: list[Entry], most: int = 30) -> list[float]:
    baseline = baseline_of(tuple(newest_first), most)
    return numbered(baseline.sessions) if baseline else []


@pytest.mark.parametrize("key", ["", "0" * 31, "0" * 33, "g" * 32, "A" * 32, "0" * 32 + "\n"])
def test_key_of_a_run(key: str) -> None:
    """A run's key is 32 hexadecimal digits."""
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        dataclasses.replace(RUN, key=key)


def test_what_was_measured_under_a_debugger_is_no_baseline() -> None:
    """It is recorded, and later runs are not compared with it."""
    environment = dataclasses.replace(ENVIRONMENT, instrumentation="tracemalloc")
    traced, plain = (
        entry_of(dataclasses.replace(make_record(), environment=each), RUN)
        for each in (environment, ENVIRONMENT)
    )

    assert plain is not None
    assert traced is not None
    assert plain.acceptable
    assert not traced.acceptable
    assert traced.noise == "measured under tracemalloc, which slows Python code down"


def test_sessions_of_a_baseline() -> None:
    """Oldest first, since the last accepted change, under the conditions of the newest."""
    assert baseline_of((), 30) is None
    assert _numbers([_entry(3), _entry(2), _entry(1)]) == [1, 2, 3]
    assert _numbers([_entry(4), _entry(3), _entry(2, renews=True), _entry(1)]) == [2, 3, 4]
    assert _numbers([_entry(2, renews=True), _entry(1)]) == [2]
    a, other, c = _entry(3, scenario="a"), _entry(2, scenario="b"), _entry(1, scenario="a")
    assert _numbers([a, other, c]) == [1, 3]
    # A change under other conditions is a change all the same.
    assert _numbers([a, dataclasses.replace(other, renews=True), c]) == [3]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=12), st.integers(1, 5))
def test_sessions_of_any_baseline(kinds: list[tuple[str, bool]], most: int) -> None:
    """Never more than allowed, of other conditions than the newest's, or before a change."""
    entries = [
        _entry(number, scenario=scenario, renews=renews)
        for number, (scenario, renews) in reversed(list(enumerate(kinds, 1)))
    ]
    numbers = _numbers(entries, most)
    assert len(numbers) <= most
    assert (numbers == []) is (entries == [])
    assert numbers == sorted(numbers)
    by_number = {numbered(entry.result.sessions)[0]: entry for entry in entries}
    assert all(by_number[number].result.scenario == kinds[-1][0] for number in numbers)
    assert not any(by_number[number].renews for number in numbers[1:])


def test_entries_are_consumed_as_needed() -> None:
    """Entries before an accepted change need not be read."""
    consumed = []

    def entries() -> Iterator[Entry]:
        for number in range(9, 0, -1):
            consumed.append(number)
            yield _entry(number, renews=number == 7)

    assert baseline_of(entries(), 30) is not None
    assert consumed == [9, 8, 7]


@pytest.mark.parametrize("commit", ["", "abc", "abc+"])
@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("noise", ["", "others took 30% of the processors"])
@pytest.mark.parametrize("renews", [False, True])
def test_what_later_runs_are_compared_with(
    commit: str, verdict: Verdict, noise: str, *, renews: bool
) -> None:
    """Neither a failure, a noisy machine nor uncommitted code, unless accepted as a change."""
    entry = make_entry(run=make_run(1, commit), verdict=verdict, noise=noise, renews=renews)
    sound = verdict in {Verdict.PASS, Verdict.NEW, Verdict.INCONCLUSIVE}
    assert entry.acceptable is (renews or (sound and commit != "abc+" and not noise))


def test_selection() -> None:
    """A branch together with commits is refused."""
    assert Selection("main").commits == ()
    assert Selection(None, ("a", "b")).branch is None
    with pytest.raises(ValueError, match="expected one of them"):
        Selection("main", ("a",))


@pytest.mark.parametrize(("kept", "renews"), [("", False), ("follow", False), ("renew", True)])
def test_entry_of_a_record(kept: Keeping, *, renews: bool) -> None:
    """The session that was measured, with the worst verdict."""
    metrics = MappingProxyType({"p99": estimate(0.01, 0.1)})
    record = dataclasses.replace(
        make_record(
            make_judgement(),
            make_judgement(Verdict.FAIL),
            measurement=make_measurement(metrics, name="big", slo=0.02),
        ),
        environment=ENVIRONMENT,
        yardstick=pace(0.5),
        kept=kept,
    )
    entry = entry_of(record, RUN)
    assert entry is not None
    assert (entry.run, entry.test, entry.name) == (RUN, record.measurement.test, "big")
    assert (entry.verdict, entry.renews) == (Verdict.FAIL, renews)
    wanted = make_accepted(
        metrics,
        revision=RUN.revision,
        slo=0.02,
        yardstick=0.5,
        counts=CallCounts(10_000, 10_000),
    )
    assert entry.result == wanted


def test_noise_and_invalid_measurements() -> None:
    """An entry has the machine's noise, and is INVALID if measuring failed."""
    record = dataclasses.replace(make_record(), environment=ENVIRONMENT)
    busy = Consumption(1e-5, 1.0, 1, 1, others=0.3, stolen=None)
    measured = dataclasses.replace(record.measurement, usage=busy, invalid="too few requests")
    entry = entry_of(dataclasses.replace(record, measurement=measured), RUN)
    assert entry is not None
    assert "30%" in entry.noise
    assert entry.verdict is Verdict.INVALID
    quiet = entry_of(record, RUN)
    assert quiet is not None
    assert quiet.noise == ""


def test_records_without_an_entry() -> None:
    """Smoke runs and duels are not recorded; a measurement that a duel settled is."""
    record = dataclasses.replace(make_record(), environment=ENVIRONMENT)
    assert entry_of(record, RUN) is not None
    assert entry_of(dataclasses.replace(record, duel={"blocks": 20}), RUN) is not None
    for change in ({"quick": True}, {"duel": {}, "environment": None}, {"environment": None}):
        assert entry_of(dataclasses.replace(record, **change), RUN) is None
