"""A checkup as text and as plain values."""

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
CHECKUP = Checkup(
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
    detectable=(
        DetectableLoss(10.0, math.log(1.011), (math.log(1.014), math.log(1.013), math.log(1.012))),
        DetectableLoss(60.0, math.log(1.001), (math.log(1.004), math.log(1.003), math.log(1.002))),
    ),
    pair_limits=(0.02, 0.01, 0.005),
    advice=("change " + "this and that and " * 12, "change the other thing"),
    seconds=61.4,
)


def words(checkup: Checkup) -> str:
    """The report on one line, blanks as one."""
    return " ".join(" ".join(doctor_lines(checkup, colour=False)).split())


@pytest.mark.parametrize(
    "text",
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
def test_text(text: str) -> None:
    """Every value is there, with its unit."""
    assert text in words(CHECKUP)


def test_lines_fit() -> None:
    """No line is longer than 80 columns, none ends in blanks; advice is indented as a list."""
    lines = doctor_lines(CHECKUP, colour=False)

    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in lines)
    first = next(number for number, line in enumerate(lines) if line.startswith("- change this"))
    assert lines[first + 1].startswith("  ")


def test_colour() -> None:
    """Without it there is no escape sequence; with it the best length is bold."""
    assert not any("\x1b" in line for line in doctor_lines(CHECKUP, colour=False))
    (best,) = (line for line in doctor_lines(CHECKUP, colour=True) if "24.4 ms" in line)
    assert "\x1b[1m" in best


def test_unknown_values() -> None:
    """What the machine does not show is marked; so is that there is no advice."""
    host = replace(CHECKUP.host, governors=(), turbo=None, quota=None)
    text = words(replace(CHECKUP, host=host, advice=()))

    assert "governor not shown, turbo not shown" in text
    assert "no quota" in text
    assert "nothing that was measured needs a change" in text


def test_an_assumed_spread() -> None:
    """A spread that may be 0 is shown with the one that the table is computed with."""
    assert "is assumed" not in words(CHECKUP)
    hidden = replace(CHECKUP, spread=0.0, spread_counted=math.log(1.014))
    assert "differ by 0.0 %" in words(hidden)
    assert "(95 % sure: by less than 20.0 %), so that 1.4 % is assumed" in words(hidden)


def test_plain_values() -> None:
    """The JSON has a schema and every field as plain values."""
    values = json.loads(json.dumps(doctor_json(CHECKUP), allow_nan=False))

    assert values["schema"] == 1
    assert values["spread"] == FIVE
    assert values["lengths"][1]["blocks"] == 15
    assert values["launches"] == [0.02, 0.01, 0.005]
    assert values["findable"][0]["by_pairs"][2] == math.log(1.012)
    assert values["host"]["turbo"] is True
    assert values["others"] is None
