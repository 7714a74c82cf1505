"""The doctor's report: what was found, in lines that fit, and as plain values."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from pytest_dlperf.doctor.checkup import Checkup, LengthNoise
from pytest_dlperf.doctor.detectable_loss import DetectableLoss
from pytest_dlperf.doctor.noise_measurement import Host, Timer
from pytest_dlperf.doctor.report import doctor_json, doctor_lines

FIVE = math.log(1.05)
FOUND = Checkup(
    host=Host(
        cpu="Test CPU",
        processors=4,
        cores=2,
        quota=1.5,
        load=0.25,
        governors=("powersave", "schedutil"),
        turbo=True,
        accelerators="",
    ),
    timer=Timer(step=4e-8, late=5e-5, late_p99=2e-3),
    stolen=0.0312,
    others=None,
    starting=7.25,
    handover=0.0015,
    lengths=(
        LengthNoise(0.005, 250, 0.0123, 0.0244, 3.7e-6, 2.8e-6, 4.9e-6),
        LengthNoise(0.1, 15, 0.2, 0.404, 0.016, 0.005, 0.052),
    ),
    best=0.005,
    pairs=4,
    spread=FIVE,
    spread_high=math.log(1.2),
    spread_counted=FIVE,
    findable=(
        DetectableLoss(10.0, math.log(1.011), (math.log(1.014), math.log(1.013), math.log(1.012))),
        DetectableLoss(60.0, math.log(1.001), (math.log(1.004), math.log(1.003), math.log(1.002))),
    ),
    launches=(0.02, 0.01, 0.005),
    advice=("change " + "this and that and " * 12, "change the other thing"),
    seconds=61.4,
)


def words(found: Checkup) -> str:
    """The report on one line, blanks as one."""
    return " ".join(" ".join(doctor_lines(found, colour=False)).split())


@pytest.mark.parametrize(
    "said",
    [
        "Test CPU: 2 of 4 processors, quota 1.5, load 0.25 before",
        "governor powersave, schedutil, turbo on",
        "host 3.1 %, other processes unknown of the processors",
        "steps of 40 ns; a sleep of 1 ms ends 50 us late, one in a hundred 2 ms",
        "1.5 ms of a slot are not measured",
        "4 fresh pairs of identical processes differ by 5.0 %",
        "by less than 20.0 %",
        "a pair took 7.25 s to start",
        "5 ms 250 24.4 ms 1.23 % 3.7e-06 s 2.8e-06 to 4.9e-06 s",
        "100 ms 15 404 ms 20.00 %",
        "best: slots of 5 ms",
        "95 % power at 1 % false alarms",
        "measured for 1 pair 2 pairs 4 pairs blocks alone",
        "10 s 1.4 % 1.3 % 1.2 % 1.1 %",
        "1 min 0.4 % 0.3 % 0.2 % 0.1 %",
        "for ever 2.0 % 1.0 % 0.5 % -",
        "- change the other thing",
        "measured in 61 s",
    ],
)
def test_what_is_said(said: str) -> None:
    """Every figure is there, with its unit."""
    assert said in words(FOUND)


def test_lines_fit() -> None:
    """No line is longer than 80 columns, none ends in blanks; advice is indented as a list."""
    lines = doctor_lines(FOUND, colour=False)

    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in lines)
    first = next(number for number, line in enumerate(lines) if line.startswith("- change this"))
    assert lines[first + 1].startswith("  ")


def test_colour_is_asked_for() -> None:
    """Without it there is no escape sequence; with it the best length is bold."""
    assert not any("\x1b" in line for line in doctor_lines(FOUND, colour=False))
    (best,) = (line for line in doctor_lines(FOUND, colour=True) if "24.4 ms" in line)
    assert "\x1b[1m" in best


def test_what_is_not_known() -> None:
    """What the machine does not show is said to be so; without advice, that is said."""
    host = replace(FOUND.host, governors=(), turbo=None, quota=None)
    said = words(replace(FOUND, host=host, advice=()))

    assert "governor not shown, turbo not shown" in said
    assert "no quota" in said
    assert "nothing was measured that should be changed" in said


def test_what_is_counted_instead() -> None:
    """A spread that may be none is told with what the table counts; else nothing is added."""
    assert "is counted" not in words(FOUND)
    unseen = replace(FOUND, spread=0.0, spread_counted=math.log(1.014))
    assert "differ by 0.0 %" in words(unseen)
    assert "(95 % sure: by less than 20.0 %), so that 1.4 % is counted" in words(unseen)


def test_plain_values() -> None:
    """The JSON has a schema and every field, as numbers, and comes back as it was."""
    found = json.loads(json.dumps(doctor_json(FOUND), allow_nan=False))

    assert found["schema"] == 1
    assert found["spread"] == FIVE
    assert found["lengths"][1]["blocks"] == 15
    assert found["findable"][0]["by_pairs"][2] == math.log(1.012)
    assert found["host"]["turbo"] is True
    assert found["others"] is None
