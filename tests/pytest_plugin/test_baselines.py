"""Baselines as a user sees them: recorded on request only, compared, replaced, never spoilt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from plugin_projects import assert_no_frame_of_ours, measuring, text

if TYPE_CHECKING:
    from pathlib import Path

    from plugin_projects import Run


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
LENIENT = measuring('"throughput >= 0.01 * baseline", detect="throughput 90%", **SHORT')


def files(pytester: pytest.Pytester) -> list[Path]:
    """All baseline files."""
    return sorted(pytester.path.glob(".dlperf/baselines/*/*.json"))


def content(pytester: pytest.Pytester) -> dict[str, Any]:
    """The only baseline file's content."""
    (path,) = files(pytester)
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def sessions(pytester: pytest.Pytester) -> list[dict[str, Any]]:
    """The sessions of the only measurement."""
    stored: list[dict[str, Any]] = content(pytester)["measurements"][""]["sessions"]
    return stored


def throughput(pytester: pytest.Pytester) -> float:
    """The throughput of the newest session of the only measurement."""
    value: float = sessions(pytester)[-1]["metrics"]["throughput"][0]
    return value


def test_record_then_pass_then_fail_for_the_right_reason(
    run: Run, again: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded only on request; then a slow target fails on throughput, a wrong one on accuracy."""
    run(SLOWABLE).assert_outcomes(passed=1)
    assert files(pytester) == []

    again("--dlperf-update=new").assert_outcomes(passed=1)
    recorded = content(pytester)
    assert (recorded["schema"], recorded["test"]) == (3, "test_module.py::test_it")
    assert sessions(pytester)[0]["metrics"]["accuracy"][0] == 1.0
    assert again().ret == 0

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
    run: Run, again: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
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


def test_update_all_accepts_a_slower_target(
    run: Run, again: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
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
    run: Run, again: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`improved` ratchets: a clearly faster target becomes the baseline, a slower one does not."""
    monkeypatch.setenv("WORK", "20")
    run(SLOWABLE, "--dlperf-update=new")
    slow = throughput(pytester)

    monkeypatch.setenv("WORK", "1")
    again().stdout.re_match_lines(
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
    run: Run, again: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `CI` set, `--dlperf-update` writes only if `--dlperf-update-in-ci` says so too."""
    monkeypatch.setenv("CI", "true")
    guarded = run(SLOWABLE, "--dlperf-update=new")
    guarded.assert_outcomes(passed=1)
    guarded.stdout.fnmatch_lines(["*not recorded in CI; --dlperf-update-in-ci allows it"])
    assert files(pytester) == []

    again("--dlperf-update=new", "--dlperf-update-in-ci").assert_outcomes(passed=1)
    assert len(sessions(pytester)) == 1

    monkeypatch.setenv("CI", "false")
    again("--dlperf-update=new").assert_outcomes(passed=1)
    assert len(sessions(pytester)) == 2


def test_a_damaged_file_is_an_error_of_its_test_only(
    run: Run, again: Run, pytester: pytest.Pytester
) -> None:
    """The test fails with the file's path, the file stays as it is, other tests go on."""
    run(SLOWABLE + measuring(name="test_other"), "--dlperf-update=new")
    path = next(path for path in files(pytester) if "test_it" in path.name)
    path.write_bytes(b"{")

    for options in ([], ["--dlperf-update=all"]):
        result = again(*options)
        result.assert_outcomes(passed=1, failed=1)
        assert "it is damaged" in text(result)
        assert path.name in text(result)
        assert_no_frame_of_ours(result)
        assert path.read_bytes() == b"{"


def test_a_failed_test_records_nothing(run: Run, pytester: pytest.Pytester) -> None:
    """A baseline is what a passing test measured, and the hint does not claim otherwise."""
    result = run(
        measuring(call="dlperf(identity, DATA, name='first'); assert False"), "--dlperf-update=new"
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*not recorded: the test failed"])
    assert files(pytester) == []


def test_recording_satisfies_missing_fail(run: Run, again: Run, pytester: pytest.Pytester) -> None:
    """With `missing=fail` the run that records the baseline is green, and so is the next one."""
    pytester.makeini("[pytest]\ndlperf_missing = fail\n")

    run(SLOWABLE).assert_outcomes(failed=1)
    again("--dlperf-update=new").assert_outcomes(passed=1)
    again().assert_outcomes(passed=1)


def test_a_gradual_loss_is_a_warning(run: Run, again: Run, pytester: pytest.Pytester) -> None:
    """What ten accepted changes have lost together is a warning and a note, never a failure."""
    run(SLOWABLE, "--dlperf-update=new")
    (path,) = files(pytester)
    value = content(pytester)
    measurement = value["measurements"][""]
    anchor = {**measurement["sessions"][0], "changes": 10, "commit": "abcdef0123456789"}
    assert measurement["sessions"][0].pop("anchor") is anchor.pop("anchor") is True
    rate = 3 * anchor["metrics"]["throughput"][0]
    measurement["anchor"] = {**anchor, "metrics": {**anchor["metrics"], "throughput": rate}}
    path.write_text(json.dumps(value))

    result = again()

    result.assert_outcomes(passed=1, warnings=1)
    assert "% below the anchor of abcdef01, " in text(result)
    assert "after 10 accepted changes" in text(result)
    result.stdout.fnmatch_lines(
        [
            "*pytest-dlperf history test_module.py::test_it",
            "*pytest-dlperf baselines anchor test_module.py::test_it",
        ]
    )
    result.stdout.fnmatch_lines(["*DlperfWarning: throughput is*"])


def test_a_busy_machine_is_a_warning(
    run: Run, again: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first session is recorded, with a warning; a further one is not."""
    busy = property(lambda _: 0.3)
    monkeypatch.setattr("pytest_dlperf.results.usage.Usage.others_share", busy)

    result = run(SLOWABLE, "--dlperf-update=new")

    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["*DlperfWarning: the baseline was recorded although the machine was not quiet"]
    )
    again("--dlperf-update=new").stdout.fnmatch_lines(["*not recorded: the machine was not quiet*"])
    assert len(sessions(pytester)) == 1


@pytest.mark.parametrize(
    "change", [("tensorflow", "2.0.0", "PASS"), ("precision", "float16", "INCONCLUSIVE")]
)
def test_other_software(
    run: Run, again: Run, pytester: pytest.Pytester, change: tuple[str, str, str]
) -> None:
    """After an upgrade of TensorFlow tests are judged, with a note; not so at another precision."""
    field, old, verdict = change
    run(LENIENT, "--dlperf-update=new").assert_outcomes(passed=1)
    (path,) = files(pytester)
    value = content(pytester)
    environment = value["measurements"][""]["sessions"][0]["environment"]
    now, environment[field] = environment[field], old
    path.write_text(json.dumps(value))

    result = again()

    result.assert_outcomes(passed=1, warnings=int(verdict != "PASS"))
    result.stdout.re_match_lines([rf"test_it .*{verdict}"])
    assert f"since the baseline: {field} {old} -> {now}" in text(result)


def test_a_baseline_of_another_machine(run: Run, again: Run, pytester: pytest.Pytester) -> None:
    """More memory makes another machine class: nothing is compared, and the report says why."""
    run(LENIENT, "--dlperf-update=new").assert_outcomes(passed=1)
    (path,) = files(pytester)
    value = content(pytester)
    memory, value["machine"]["memory"] = value["machine"]["memory"], 1 << 20
    other = path.parent.with_name("other-machine")
    path.parent.rename(other)
    (other / path.name).write_text(json.dumps(value))

    result = again()

    result.stdout.re_match_lines([r"test_it .*NEW"])
    assert f"there is one for another: memory {1 << 20} -> {memory} GiB" in text(result)
    assert "record a baseline with --dlperf-update=new" in text(result)
