"""History: what is kept of a run, and what of it is a baseline."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from builders import (
    ENVIRONMENT,
    MACHINE,
    REVISION,
    estimate,
    make_accepted,
    make_judgement,
    make_measurement,
    make_record,
)
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.history.entries import Entry, Run, Selection, baseline_of, entry_of
from pytest_dlperf.results.baseline import Revision
from pytest_dlperf.results.usage import Consumption
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.results.record import Keeping

RUN = Run("0" * 32, 0.0, MACHINE, REVISION)


def _entry(
    number: int, *, scenario: str = "", renews: bool = False, verdict: Verdict = Verdict.PASS
) -> Entry:
    run = dataclasses.replace(RUN, key=f"{number:032x}", began=float(number))
    found = make_accepted(scenario=scenario, yardstick=float(number))
    return Entry(run, "t", "", verdict, found, renews)


def _numbers(newest_first: list[Entry], most: int = 30) -> list[float | None]:
    found = baseline_of(tuple(newest_first), most)
    return [session.yardstick for session in found.sessions] if found else []


@pytest.mark.parametrize("key", ["", "0" * 31, "0" * 33, "g" * 32, "A" * 32, "0" * 32 + "\n"])
def test_key_of_a_run(key: str) -> None:
    """A run's key is 32 hexadecimal digits."""
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        dataclasses.replace(RUN, key=key)


def test_no_entries_are_no_baseline() -> None:
    """Where nothing was measured there is nothing to compare with."""
    assert baseline_of((), 30) is None


def test_sessions_are_in_the_order_of_time() -> None:
    """The newest entry is the newest session, those before it go before it."""
    assert _numbers([_entry(3), _entry(2), _entry(1)]) == [1, 2, 3]


def test_an_accepted_change_is_the_first_session() -> None:
    """What was measured before a change says nothing of the code after it."""
    assert _numbers([_entry(4), _entry(3), _entry(2, renews=True), _entry(1)]) == [2, 3, 4]
    assert _numbers([_entry(2, renews=True), _entry(1)]) == [2]


def test_other_conditions_are_left_out() -> None:
    """Sessions of another scenario than the newest's are none of its baseline."""
    assert _numbers(
        [_entry(3, scenario="a"), _entry(2, scenario="b"), _entry(1, scenario="a")]
    ) == [
        1,
        3,
    ]


def test_a_change_to_other_conditions_ends_it_all_the_same() -> None:
    """A change that was accepted is one whatever it was measured under."""
    newest_first = [
        _entry(3, scenario="a"),
        _entry(2, scenario="b", renews=True),
        _entry(1, scenario="a"),
    ]
    assert _numbers(newest_first) == [3]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=12), st.integers(1, 5))
def test_never_more_than_asked_for(kinds: list[tuple[str, bool]], most: int) -> None:
    """Sessions are of the newest's conditions, at most so many, none before a change."""
    entries = [
        _entry(number, scenario=scenario, renews=renews)
        for number, (scenario, renews) in reversed(list(enumerate(kinds, 1)))
    ]
    found = _numbers(entries, most)
    assert len(found) <= most
    assert (found == []) is (entries == [])
    assert found == sorted(found, key=lambda number: number or 0)
    by_number = {entry.run.began: entry for entry in entries}
    assert all(by_number[number or 0].found.scenario == kinds[-1][0] for number in found)
    assert not any(by_number[number or 0].renews for number in found[1:])


def test_no_further_than_needed() -> None:
    """Entries are taken one by one, so that they need not all be read."""
    taken = []

    def entries() -> Iterator[Entry]:
        for number in range(9, 0, -1):
            taken.append(number)
            yield _entry(number, renews=number == 7)

    assert baseline_of(entries(), 30) is not None
    assert taken == [9, 8, 7]


@pytest.mark.parametrize("commit", ["", "abc", "abc+"])
@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("unquiet", ["", "others took 30% of the processors"])
@pytest.mark.parametrize("renews", [False, True])
def test_what_later_runs_are_compared_with(
    commit: str, verdict: Verdict, unquiet: str, *, renews: bool
) -> None:
    """Neither what failed nor what nobody else has, unless it was accepted as a change."""
    run = dataclasses.replace(RUN, revision=Revision(commit, "main", "2026-11-23"))
    entry = _entry(1, renews=renews, verdict=verdict)
    entry = dataclasses.replace(entry, run=run, unquiet=unquiet)
    sound = verdict in {Verdict.PASS, Verdict.NEW, Verdict.INCONCLUSIVE}
    assert entry.acceptable is (renews or (sound and commit != "abc+" and not unquiet))


def test_selection_is_one_thing_or_the_other() -> None:
    """A branch and commits at once are refused."""
    assert Selection("main").commits == ()
    assert Selection(None, ("a", "b")).branch is None
    with pytest.raises(ValueError, match="expected one of them"):
        Selection("main", ("a",))


@pytest.mark.parametrize(("kept", "renews"), [("", False), ("follow", False), ("renew", True)])
def test_entry_of_a_record(kept: Keeping, *, renews: bool) -> None:
    """What is kept is the session that was measured, with the gravest verdict."""
    metrics = MappingProxyType({"p99": estimate(0.01, 0.1)})
    record = dataclasses.replace(
        make_record(
            make_judgement(),
            make_judgement(Verdict.FAIL),
            measurement=make_measurement(metrics, name="big", slo=0.02),
        ),
        environment=ENVIRONMENT,
        yardstick=0.5,
        kept=kept,
    )
    entry = entry_of(record, RUN)
    assert entry is not None
    assert (entry.run, entry.test, entry.name) == (RUN, record.measurement.test, "big")
    assert (entry.verdict, entry.renews) == (Verdict.FAIL, renews)
    assert entry.found == make_accepted(metrics, slo=0.02, yardstick=0.5)


def test_what_says_nothing_of_speed_is_known_as_such() -> None:
    """A machine that was not quiet, and measuring that failed, are kept with the entry."""
    record = dataclasses.replace(make_record(), environment=ENVIRONMENT)
    busy = Consumption(1e-5, 1.0, 1, 1, others=0.3, stolen=None)
    measured = dataclasses.replace(record.measurement, usage=busy, invalid="too few requests")
    entry = entry_of(dataclasses.replace(record, measurement=measured), RUN)
    assert entry is not None
    assert "30%" in entry.unquiet
    assert entry.verdict is Verdict.INVALID
    quiet = entry_of(record, RUN)
    assert quiet is not None
    assert quiet.unquiet == ""


def test_what_is_not_kept() -> None:
    """Smoke runs, duels, and what was measured with unknown software say nothing of speed."""
    record = dataclasses.replace(make_record(), environment=ENVIRONMENT)
    assert entry_of(record, RUN) is not None
    for change in ({"quick": True}, {"duel": {}, "environment": None}, {"environment": None}):
        assert entry_of(dataclasses.replace(record, **change), RUN) is None


def test_what_a_duel_settled_is_kept() -> None:
    """It was measured as any other; the duel only told what to think of it."""
    record = dataclasses.replace(make_record(), environment=ENVIRONMENT, duel={"blocks": 20})
    assert entry_of(record, RUN) is not None
