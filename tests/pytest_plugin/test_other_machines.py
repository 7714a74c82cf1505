"""What has changed since the baseline, on this machine or from another one, is said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from duel_projects import text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


HELD = """
@pytest.mark.dlperf("throughput >= 0.01 * baseline", detect="throughput 90%", **SHORT)
def test_it(dlperf):
    dlperf(identity, DATA)
"""


def baseline(pytester: pytest.Pytester) -> tuple[Path, dict[str, Any]]:
    """The only file, and what is in it."""
    (path,) = pytester.path.glob(".dlperf/baselines/*/*.json")
    value: dict[str, Any] = json.loads(path.read_text())
    return path, value


@pytest.mark.parametrize(
    "change", [("tensorflow", "2.0.0", "PASS"), ("precision", "float16", "INCONCLUSIVE")]
)
def test_other_software_is_said(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    change: tuple[str, str, str],
) -> None:
    """After an upgrade of TensorFlow it is judged, and told; with another precision it is not."""
    field, old, verdict = change
    run(HELD, "--dlperf-update=new").assert_outcomes(passed=1)
    path, value = baseline(pytester)
    environment = value["measurements"][""]["sessions"][0]["environment"]
    now, environment[field] = environment[field], old
    path.write_text(json.dumps(value))

    result = again()

    result.assert_outcomes(passed=1, warnings=int(verdict != "PASS"))
    result.stdout.re_match_lines([rf"test_it .*{verdict}"])
    assert f"since the baseline: {field} {old} -> {now}" in text(result)


def test_a_baseline_of_another_machine_is_told_of(
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
) -> None:
    """More memory makes a new machine class: nothing is compared, and it is said why."""
    run(HELD, "--dlperf-update=new").assert_outcomes(passed=1)
    path, value = baseline(pytester)
    memory, value["machine"]["memory"] = value["machine"]["memory"], 1 << 20
    other = path.parent.with_name("other-machine")
    path.parent.rename(other)
    (other / path.name).write_text(json.dumps(value))

    result = again()

    result.stdout.re_match_lines([r"test_it .*NEW"])
    assert f"there is one for another: memory {1 << 20} -> {memory} GiB" in text(result)
    assert "record a baseline with --dlperf-update=new" in text(result)
