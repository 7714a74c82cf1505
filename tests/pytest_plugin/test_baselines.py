"""Baselines as a user sees them: recorded on request only, compared, replaced, never spoilt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


SLOWABLE = """
import os

def work(batch):
    spend(100e-6 * int(os.environ.get("WORK", "1")))
    out = batch.copy()
    if os.environ.get("WRONG"):
        out[:, 0] = 9
    return out

@pytest.mark.dlperf("throughput >= 0.5 * baseline", "accuracy >= baseline - 1pt",
                    scenario=ClosedLoop(clients=8), duration="0.4s")
def test_it(dlperf):
    dlperf(work, DATA)
"""


def files(pytester: pytest.Pytester) -> list[Path]:
    """All baseline files."""
    return sorted(pytester.path.glob(".dlperf/baselines/*/*.json"))


def content(pytester: pytest.Pytester) -> dict[str, Any]:
    """The only baseline file's content."""
    (path,) = files(pytester)
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def sessions(pytester: pytest.Pytester) -> list[dict[str, Any]]:
    """Those of the only measurement."""
    found: list[dict[str, Any]] = content(pytester)["measurements"][""]["sessions"]
    return found


def throughput(pytester: pytest.Pytester) -> float:
    """Of the newest session of the only measurement."""
    value: float = sessions(pytester)[-1]["metrics"]["throughput"][0]
    return value


def test_nothing_is_written_unasked(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """A plain run leaves no baseline."""
    run(SLOWABLE).assert_outcomes(passed=1)

    assert files(pytester) == []


def test_record_then_pass_then_fail_for_the_right_reason(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The main job: a slower target is red on throughput, a worse one on accuracy only."""
    run(SLOWABLE, "--dlperf-update=new").assert_outcomes(passed=1)
    recorded = content(pytester)
    assert recorded["schema"] == 3
    assert recorded["test"] == "test_module.py::test_it"
    assert sessions(pytester)[0]["metrics"]["accuracy"][0] == 1.0

    result = again()
    assert result.ret == 0

    monkeypatch.setenv("WORK", "20")
    slower = again()
    slower.assert_outcomes(failed=1)
    slower.stdout.re_match_lines(
        [
            r".*BudgetFailure: throughput >= 0.5 \* baseline, was",
            r"E +throughput .*FAIL",
            r"E +accuracy .*PASS",
            r"E +next: ",
            r"E +pytest test_module.py::test_it --dlperf-update=all",
        ]
    )

    monkeypatch.setenv("WORK", "1")
    monkeypatch.setenv("WRONG", "1")
    worse = again()
    worse.assert_outcomes(failed=1)
    worse.stdout.re_match_lines([r".*BudgetFailure: accuracy >= baseline - 1pt, was"])
    worse.stdout.no_fnmatch_line("E * throughput *FAIL*")
    assert content(pytester) == recorded


def test_update_new_keeps_what_is_there(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`new` never replaces an accepted baseline: it adds unchanged sessions to a young one."""
    run(SLOWABLE, "--dlperf-update=new")
    first = sessions(pytester)

    again("--dlperf-update=new").stdout.fnmatch_lines(["*session 2 of the baseline recorded"])
    two = sessions(pytester)
    assert (two[0], len(two)) == (first[0], 2)

    monkeypatch.setenv("WORK", "20")
    again("--dlperf-update=new").assert_outcomes(failed=1)
    assert sessions(pytester) == two


def test_a_grown_baseline_is_left_to_update_all(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
) -> None:
    """From eight sessions on `new` leaves the file as it is, so that it settles."""
    run(SLOWABLE, "--dlperf-update=new")
    (path,) = files(pytester)
    value = content(pytester)
    first = value["measurements"][""]["sessions"][0]
    unmarked = {name: told for name, told in first.items() if name != "anchor"}
    value["measurements"][""]["sessions"] = [first, *[unmarked] * 7]
    path.write_text(json.dumps(value))
    before = path.read_bytes()

    again("--dlperf-update=new").assert_outcomes(passed=1)
    assert path.read_bytes() == before

    again("--dlperf-update=all").assert_outcomes(passed=1)
    assert len(sessions(pytester)) in {1, 9}  # 1 if this very session differed beyond the noise


def test_update_all_accepts_a_slower_target(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`all` makes what was measured the baseline, and the test is green."""
    run(SLOWABLE, "--dlperf-update=new")
    old = throughput(pytester)
    monkeypatch.setenv("WORK", "20")

    result = again("--dlperf-update=all")

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines(
        [
            r".*accepted as the new baseline; it was",
            r".*baseline replaced",
            r"  throughput [\d,.]+.*/s -> [\d,.]+.*/s \(-\d+\.\d %\)",
            r"  accuracy 100.00 % -> 100.00 % \(\+0.0 pt\)",
        ]
    )
    assert throughput(pytester) < old / 2
    anchor = content(pytester)["measurements"][""]["anchor"]
    assert anchor["metrics"]["throughput"][0] == old
    assert anchor["changes"] == 1


def test_update_improved_replaces_only_what_is_better(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`improved` ratchets: a clearly faster target becomes the baseline, a slower one does not."""
    monkeypatch.setenv("WORK", "20")
    run(SLOWABLE, "--dlperf-update=new")
    slow = throughput(pytester)

    monkeypatch.setenv("WORK", "1")
    hint = again()
    hint.stdout.re_match_lines(
        [
            r".*better than the baseline \(throughput\): hold it with",
            r"  pytest test_module.py::test_it --dlperf-update=improved",
        ]
    )
    again("--dlperf-update=improved").assert_outcomes(passed=1)
    fast = throughput(pytester)
    assert fast > 2 * slow

    monkeypatch.setenv("WORK", "20")
    again("--dlperf-update=improved").assert_outcomes(failed=1)
    assert throughput(pytester) == fast


def test_nothing_is_written_in_ci(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With `CI` set, `--dlperf-update` writes only if `--dlperf-update-in-ci` says so too."""
    monkeypatch.setenv("CI", "true")

    guarded = run(SLOWABLE, "--dlperf-update=new")
    guarded.assert_outcomes(passed=1)
    guarded.stdout.fnmatch_lines(["*not recorded in CI; --dlperf-update-in-ci allows it"])
    assert files(pytester) == []

    again("--dlperf-update=new", "--dlperf-update-in-ci").assert_outcomes(passed=1)
    assert len(files(pytester)) == 1


def test_a_broken_absolute_budget_is_not_recorded(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """What fails by itself is no baseline, whatever was asked."""
    result = run(
        """
@pytest.mark.dlperf("p50 <= 1ns", **SHORT)
def test_it(dlperf):
    dlperf(identity, DATA)
""",
        "--dlperf-update=all",
    )

    result.assert_outcomes(failed=1)
    assert files(pytester) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b"{", "it is damaged"),
        (b'{"schema": 99}', "written by a newer pytest-dlperf"),
    ],
)
def test_a_damaged_file_is_an_error_of_its_test_only(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    damage: bytes,
    message: str,
) -> None:
    """The test fails with the file's path, the file stays as it is, other tests go on."""
    source = SLOWABLE + "\ndef test_other(dlperf):\n    dlperf(identity, DATA, **SHORT)\n"
    run(source, "--dlperf-update=new")
    path = next(p for p in files(pytester) if "test_it" in p.name)
    path.write_bytes(damage)

    for options in ([], ["--dlperf-update=all"]):
        result = again(*options)
        result.assert_outcomes(passed=1, failed=1)
        said = "\n".join(result.outlines)
        assert message in said
        assert path.name in said
        assert "files.py" not in said
        assert path.read_bytes() == damage


def test_a_failed_test_records_nothing(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """A baseline is what a passing test measured, and the hint does not claim otherwise."""
    result = run(
        """
@pytest.mark.dlperf("throughput >= 0.5 * baseline", **SHORT)
def test_it(dlperf):
    dlperf(identity, DATA, name="first")
    assert False
""",
        "--dlperf-update=new",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*not recorded: the test failed"])
    assert files(pytester) == []


def test_recording_satisfies_missing_fail(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
) -> None:
    """With `missing=fail` the run that records the baseline is green, and so is the next one."""
    pytester.makeini("[pytest]\ndlperf_missing = fail\n")

    run(SLOWABLE).assert_outcomes(failed=1)
    again("--dlperf-update=new").assert_outcomes(passed=1)
    again().assert_outcomes(passed=1)


def test_another_scenario_is_not_compared(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
) -> None:
    """When the marker's scenario changed, the old baseline says nothing until it is replaced."""
    run(SLOWABLE, "--dlperf-update=new")
    module = pytester.path / "test_module.py"
    module.write_text(
        module.read_text().replace('clients=8), duration="0.4s', 'clients=16), duration="0.4s')
    )

    result = again()
    result.assert_outcomes(passed=1, warnings=2)
    result.stdout.re_match_lines(
        [
            r".*the baseline's scenario was ClosedLoop\(clients=8\)",
            r".*accept the new conditions with --dlperf-update=all",
        ]
    )
    again("--dlperf-update=all").assert_outcomes(passed=1)
    assert content(pytester)["measurements"][""]["scenario"] == "ClosedLoop(clients=16)"
    assert len(sessions(pytester)) == 1
    assert sessions(pytester)[0]["anchor"] is True


def test_ci_false_is_no_ci(
    run: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`CI=false` says that this is none."""
    monkeypatch.setenv("CI", "false")

    run(SLOWABLE, "--dlperf-update=new")

    assert len(files(pytester)) == 1


def test_a_creep_is_told_of(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
) -> None:
    """What ten accepted changes have lost together is a warning and a note, never a failure."""
    run(SLOWABLE, "--dlperf-update=new")
    assert sessions(pytester)[0]["anchor"] is True
    (path,) = files(pytester)
    value = content(pytester)
    measurement = value["measurements"][""]
    anchor = {**measurement["sessions"][0], "changes": 10, "commit": "abcdef0123456789"}
    del measurement["sessions"][0]["anchor"], anchor["anchor"]
    rate = 3 * anchor["metrics"]["throughput"][0]
    measurement["anchor"] = {**anchor, "metrics": {**anchor["metrics"], "throughput": rate}}
    path.write_text(json.dumps(value))

    result = again()

    result.assert_outcomes(passed=1, warnings=1)
    said = " ".join("\n".join(result.outlines).split())
    assert "% below the anchor of abcdef01, " in said
    assert "after 10 accepted changes" in said
    result.stdout.fnmatch_lines(
        [
            "*pytest-dlperf history test_module.py::test_it",
            "*pytest-dlperf baselines anchor test_module.py::test_it",
        ]
    )
    result.stdout.fnmatch_lines(["*DlperfWarning: throughput is*"])


def test_a_baseline_of_an_unquiet_machine_is_warned_of(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first session is recorded, with a warning; a further one is not."""
    busy = property(lambda _: 0.3)
    monkeypatch.setattr("pytest_dlperf.results.usage.Usage.others_share", busy)

    result = run(SLOWABLE, "--dlperf-update=new")

    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["*DlperfWarning: the baseline was recorded although the machine was not quiet: *30%*"]
    )
    assert len(sessions(pytester)) == 1
    again("--dlperf-update=new").stdout.fnmatch_lines(["*not recorded: the machine was not quiet*"])
    assert len(sessions(pytester)) == 1
