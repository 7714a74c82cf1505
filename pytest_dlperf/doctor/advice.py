"""What to change on a machine; each piece of advice only if its cause was measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from pytest_dlperf.config.options import DEFAULTS
from pytest_dlperf.report.hints import time_for_loss
from pytest_dlperf.results.usage import disturbance
from pytest_dlperf.units import format_change, format_percent, format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.doctor.detectable_loss import TimeToFind
    from pytest_dlperf.doctor.noise_measurement import Host, NoiseMeasurement, Timer
    from pytest_dlperf.doctor.pair_noise import PairNoise
    from pytest_dlperf.results.usage import Usage

_STOLEN: Final = 0.02
_OTHERS: Final = 0.1
_LATE: Final = 0.25e-3
_LATE_P99: Final = 2e-3
_ENOUGH_PROCESSORS: Final = 2
_VARYING: Final = frozenset({"powersave", "ondemand", "conservative", "schedutil"})


def advice(measurement: NoiseMeasurement, noise: PairNoise, usual: TimeToFind) -> Iterator[str]:
    """Sentences, the most important cause first.

    Args:
        measurement: of the machine.
        noise: of its pairs.
        usual: how long the loss takes that duels look for by default.
    """
    if not noise.holds_zero:
        mean = format_change(math.expm1(noise.mean), "s")
        error = format_percent(noise.mean_error)
        yield (
            f"identical code differs by {mean} (standard error {error}), which chance does once "
            "in a hundred times: run this again, and trust no smaller loss if it says so again"
        )
    yield from _on_others(measurement.used, measurement.timer)
    yield from _on_processors(measurement.host)
    if measurement.spawned:
        yield (
            "sides are started as new programs, which takes longer than forking them: "
            f"{measurement.spawned}"
        )
    # Other processes may be the only cause of what pairs differ by.
    if not disturbance(measurement.used):
        yield from _on_time(usual, measurement.starting[0])
    if measurement.host.accelerators:
        yield (
            f"there is a GPU ({measurement.host.accelerators}), but all of this was measured on "
            "the CPU: processes may differ by more or less on the GPU"
        )


def _on_others(used: Usage, timer: Timer) -> Iterator[str]:
    stolen, others = used.stolen_share, used.others_share
    if stolen is not None and stolen > _STOLEN:
        yield (
            f"the host took {format_percent(stolen)} of the processors: use a machine "
            "with processors of its own, or another time of the day"
        )
    if others is not None and others > _OTHERS:
        yield (
            f"other processes took {format_percent(others)} of the processors: stop them while "
            "tests measure, and run this again; what pairs differ by is partly theirs"
        )
    if timer.late > _LATE or timer.late_p99 > _LATE_P99:
        yield (
            f"a sleep of 1 ms ends {format_quantity(timer.late, 's')} late, one in a hundred "
            f"{format_quantity(timer.late_p99, 's')}: open loops send late; run fewer other "
            "processes, and keep the processors out of deep idle states"
        )


def _on_processors(host: Host) -> Iterator[str]:
    varying = sorted(_VARYING & set(host.governors))
    if varying:
        yield (
            f"the frequency governor is {', '.join(varying)}: with performance the speed "
            "varies less (cpupower frequency-set --governor performance)"
        )
    if host.turbo:
        yield (
            "turbo is on, so that the speed depends on heat and on the other cores: switch it off "
            "while tests measure (intel_pstate/no_turbo or cpufreq/boost in "
            "/sys/devices/system/cpu)"
        )
    usable = host.cores if host.quota is None else min(host.cores, host.quota)
    if usable < _ENOUGH_PROCESSORS:
        yield (
            f"this process may use {usable:.3g} processors: with two, other processes need not "
            "take their time from the model"
        )


def _on_time(usual: TimeToFind, first: float) -> Iterator[str]:
    """That the time of a duel is too short, which begins when the first pair can be measured."""
    if usual.seconds is None:
        yield (
            f"pairs differ by so much that a thousand of them do not show a loss of "
            f"{format_percent(math.expm1(usual.loss))}: use another machine for duels"
        )
    elif usual.seconds - first > (DEFAULTS.budget_time or math.inf):
        hint = time_for_loss(usual.seconds - first, format_percent(math.expm1(usual.loss)))
        yield f"the time of a duel is too short for this machine: {hint}"
