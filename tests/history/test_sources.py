"""Which sessions a branch, a commit, a run or a file stands for."""

from __future__ import annotations

import dataclasses

import pytest
from builders import ENVIRONMENT, MACHINE, estimate, make_judgement, make_measurement, make_record
from entries import TEST, commit_of, make_entry, make_run

from pytest_dlperf.errors import UsageError
from pytest_dlperf.history.entries import MeasurementId
from pytest_dlperf.history.sources import (
    Source,
    committed,
    noise_of,
    side_of,
    source_of_report,
    without_invalid,
    without_noisy,
    without_shared,
)
from pytest_dlperf.results.baseline import MOST_SESSIONS
from pytest_dlperf.results.baseline_session import short
from pytest_dlperf.results.measurement import title_of
from pytest_dlperf.results.verdict import Verdict

PLACE = MeasurementId(TEST, "", MACHINE)


def _source(kind: str, *numbers: int, given: str = "") -> Source:
    """A source with an entry of each run, the newest first."""
    entries = tuple(
        make_entry({"throughput": estimate(1000.0 + n)}, run=make_run(n)) for n in numbers
    )
    return Source(given or kind, kind, entries)  # type: ignore[arg-type]  # one of the kinds


def _numbers(source: Source) -> list[int]:
    return [int(entry.run.key, 16) for entry in source.entries]


def test_titles() -> None:
    """A title is the test's node id, and the name of the measurement if it has one."""
    assert (title_of("a.py::t", ""), title_of("a.py::t", "b")) == ("a.py::t", "a.py::t [b]")


def test_commits() -> None:
    """Commits are shortened as git does; those with uncommitted changes are not committed."""
    assert [short(commit) for commit in ("0123456789abcdef", "0123456789abcdef+", "")] == [
        "01234567",
        "01234567+",
        "",
    ]
    runs = [make_run(commit=commit) for commit in ("abc", "abc+", "")]
    assert [committed(run) for run in runs] == [True, False, False]


def test_nothing_in_common() -> None:
    """Sources without a common run are not changed."""
    base, candidate = _source("branch", 3, 2), _source("commit", 1)
    assert without_shared(base, candidate) == (base, candidate)


@pytest.mark.parametrize(
    ("wide", "narrow"), [("branch", "commit"), ("branch", "run"), ("commit", "run")]
)
def test_the_wider_one_gives_way(wide: str, narrow: str) -> None:
    """A branch is compared with its own run as it was before it, on either side."""
    whole, part = _source(wide, 3, 2, 1), _source(narrow, 3)

    base, candidate = without_shared(whole, part)

    assert (_numbers(base), _numbers(candidate)) == ([2, 1], [3])
    assert base.left_out == (f"1 measurement of {wide} that {narrow} has too",)
    assert candidate.left_out == ()
    assert [_numbers(side) for side in without_shared(part, whole)] == [[3], [2, 1]]


def test_a_file_is_recognised_by_its_values() -> None:
    """A file has no run's key: the same six digits in every metric are the same run."""
    branch = _source("branch", 3, 2)
    same = make_entry({"throughput": estimate(1003.0000004)}, run=make_run(77))
    base, _ = without_shared(branch, Source("a.json", "file", (same,)))
    assert _numbers(base) == [2]
    other = make_entry({"throughput": estimate(1003.01)}, run=make_run(77))
    assert without_shared(branch, Source("a.json", "file", (other,)))[0] is branch


@pytest.mark.parametrize("kind", ["branch", "commit", "run", "file"])
def test_a_comparison_with_itself(kind: str) -> None:
    """The same source on both sides is refused."""
    with pytest.raises(UsageError, match=f"x and y are the same {kind}"):
        without_shared(_source(kind, 1, given="x"), _source(kind, 1, given="y"))


def test_nothing_but_what_they_share() -> None:
    """A branch whose only run is the other side is refused."""
    with pytest.raises(UsageError, match="main has no session that is not one of latest"):
        without_shared(_source("branch", 1, given="main"), _source("run", 1, given="latest"))


def test_failed_measurements_do_not_count() -> None:
    """INVALID measurements are left out; a source without others is refused."""
    bad = make_entry(run=make_run(5), verdict=Verdict.INVALID)
    good = _source("commit", 1)
    mixed = dataclasses.replace(good, entries=(bad, *good.entries))

    kept = without_invalid(mixed)

    assert kept.entries == good.entries
    assert kept.left_out == ("1 INVALID measurement of commit",)
    assert without_invalid(good) is good
    with pytest.raises(UsageError, match="nothing to compare but 1 INVALID measurement"):
        without_invalid(dataclasses.replace(good, entries=(bad,)))


def test_a_machine_that_was_not_quiet() -> None:
    """Its measurements are left out where others remain; else they say why speeds do not count."""
    quiet = _source("commit", 1)
    (entry,) = quiet.entries
    noisy = dataclasses.replace(
        entry, run=make_run(2), noise="the machine was not quiet: other processes took 89 %"
    )

    kept = without_noisy(dataclasses.replace(quiet, entries=(noisy, entry)))
    assert kept.entries == (entry,)
    assert kept.left_out == ("1 measurement of commit on a machine that was not quiet",)
    assert noise_of(kept) == {}

    alone = dataclasses.replace(quiet, entries=(noisy,))
    assert without_noisy(alone) is alone
    assert noise_of(kept, alone) == {entry.key: f"{noisy.noise} (commit)"}


def test_an_accepted_change_of_a_branch() -> None:
    """A branch has the sessions since its last accepted change, a commit all of them."""
    newest_first = _source("branch", 5, 4, 3, 2, 1)
    entries = tuple(
        dataclasses.replace(e, renews=int(e.run.key, 16) == 3) for e in newest_first.entries
    )

    branch = side_of(Source("main", "branch", entries))[PLACE]
    commit = side_of(Source("abc", "commit", entries))[PLACE]

    assert [s.metrics["throughput"].value for s in branch.sessions] == [1003, 1004, 1005]
    assert [s.metrics["throughput"].value for s in commit.sessions] == [
        1001,
        1002,
        1003,
        1004,
        1005,
    ]
    assert branch.revision.commit == commit_of(5)


def test_sessions_of_a_branch_are_limited() -> None:
    """A branch has at most as many sessions as a baseline, a commit all of them."""
    numbers = range(MOST_SESSIONS + 5, 0, -1)
    assert len(side_of(_source("branch", *numbers))[PLACE].sessions) == MOST_SESSIONS
    assert len(side_of(_source("commit", *numbers))[PLACE].sessions) == MOST_SESSIONS + 5


def test_measurements_are_distinguished() -> None:
    """By test, name and machine class."""
    other = dataclasses.replace(MACHINE, cores=8)
    entries = (
        make_entry(run=make_run(4)),
        make_entry(run=make_run(4), name="b"),
        make_entry(run=make_run(4), test="t.py::u"),
        make_entry(run=make_run(3, machine=other)),
    )

    side = side_of(Source("x", "commit", entries))

    assert set(side) == {
        PLACE,
        MeasurementId(TEST, "b", MACHINE),
        MeasurementId("t.py::u", "", MACHINE),
        MeasurementId(TEST, "", other),
    }
    assert all(len(accepted.sessions) == 1 for accepted in side.values())


def test_sessions_under_other_conditions_are_left_out() -> None:
    """Only sessions of the newest one's scenario are compared."""
    entries = (
        make_entry(run=make_run(3)),
        make_entry(run=make_run(2), scenario="Offline()"),
        make_entry(run=make_run(1)),
    )
    assert len(side_of(Source("x", "commit", entries))[PLACE].sessions) == 2


def test_a_report_is_a_source() -> None:
    """A report is one session of its commit, each record with its own software."""
    known = dataclasses.replace(ENVIRONMENT, tensorflow="2.19.0")
    plain = make_record(make_judgement())
    newer = dataclasses.replace(plain, environment=known, measurement=make_measurement(name="b"))

    source = source_of_report("a.json", [plain, newer], MACHINE, ENVIRONMENT, "abc")

    assert (source.given, source.kind, source.left_out) == ("a.json", "file", ())
    assert [entry.result.environment for entry in source.entries] == [ENVIRONMENT, known]
    assert {entry.run.revision.commit for entry in source.entries} == {"abc"}
    assert source.entries[0].run.machine == MACHINE


def test_smoke_runs_and_duels_are_no_sessions() -> None:
    """They are left out, and refused if there is nothing else; one settled by a duel is kept."""
    quick = make_record(make_judgement(), quick=True)
    duel = dataclasses.replace(make_record(make_judgement()), duel={"blocks": 6})
    usual = make_record(make_judgement())
    settled = dataclasses.replace(duel, environment=ENVIRONMENT)

    records = [quick, duel, usual, settled]
    source = source_of_report("a.json", records, MACHINE, ENVIRONMENT, "")

    assert len(source.entries) == 2
    assert source.left_out == ("2 measurements of smoke runs or duels in a.json",)
    with pytest.raises(UsageError, match=r"a.json holds nothing .* only 1 measurement of smoke"):
        source_of_report("a.json", [quick], MACHINE, ENVIRONMENT, "")
    with pytest.raises(UsageError, match="holds nothing that can be compared\n"):
        source_of_report("a.json", [], MACHINE, ENVIRONMENT, "")
