"""Options of pytest and its plugins that a duel cannot be combined with, and the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.pytest_plugin.session import DlperfSession

_ELSEWHERE: Final = "tests run in other processes: leave one of them out"
_DISTURB: Final = "the processes of pytest-xdist would disturb what is measured"
_SNAPSHOTS: Final = "a duel writes no snapshots of syrupy: update them in a run of its own"


def refuse(config: pytest.Config, session: DlperfSession) -> None:
    """Refuse options that a duel cannot be combined with.

    Raises:
        pytest.UsageError: if one is given.
    """
    for option, given, reason in _refusals(config, session):
        if given:
            raise pytest.UsageError(f"{option} with --dlperf-against\n  {reason}")


def _refusals(config: pytest.Config, session: DlperfSession) -> Iterator[tuple[str, object, str]]:
    """Each option, its value, and why it is refused."""

    def value(name: str, default: object = False) -> object:  # noqa: FBT002 - as pytest has it
        return config.getoption(name, default=default)

    ours = session.options
    baselines = "a duel writes no baselines: record them in a run of its own"
    yield "--dlperf-update", ours.update, baselines
    yield "--dlperf-quick", ours.quick, "a smoke run compares nothing: leave one of them out"
    yield "--pdb", value("usepdb"), _ELSEWHERE
    yield "--trace", value("trace"), _ELSEWHERE
    yield "--setup-only", value("setuponly"), _ELSEWHERE
    yield "--setup-plan", value("setupplan"), _ELSEWHERE
    yield "-n", value("numprocesses"), f"{_DISTURB}: run with -n0"
    distributed = value("dist", "no") != "no" and value("tx")
    yield "--tx", distributed, f"{_DISTURB}: run with --dist=no"
    yield "--snapshot-update", value("update_snapshots"), _SNAPSHOTS
    yield "--snapshot-update-new-only", value("update_new_snapshots_only"), _SNAPSHOTS
    covered = value("cov_source") and not value("no_cov")
    coverage = "the sides run the tests, and their coverage is not collected: add --no-cov"
    yield "--cov", covered, coverage
