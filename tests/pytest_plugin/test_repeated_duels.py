"""A duel that is repeated continues from the one before, unless anything has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from duel_projects import Project

from pytest_dlperf.duel.evidence_cache import PairEffectCache

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.subprocess


class KnownVersions(PairEffectCache):
    """Keeps what says whether a duel repeats another one."""

    seen: list[tuple[str, ...]]

    def __init__(
        self,
        folder: Path | None,
        machine: tuple[str, ...],
        versions: tuple[str, ...],
        *more: object,
    ) -> None:
        assert more
        super().__init__(folder, machine, versions)
        self.seen.append(versions)


def test_ignored_files_that_change(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pairs of other code are not gone on with; what a run writes itself is no change."""
    project = Project(pytester, monkeypatch)
    project.write(".gitignore", "__pycache__\n.pytest_cache\n*.txt\n*.json\n")
    project.write("test_module.py", "def test_it(): open('cache.pyc', 'w').close()\n")
    project.commit()
    KnownVersions.seen = []
    monkeypatch.setattr("pytest_dlperf.duel.evidence_cache.PairEffectCache", KnownVersions)

    project.write("s.txt", "1")
    for _ in range(2):
        # The second of these is not ignored: it is a new file.
        project.duel("--dlperf-json=ignored.json", "--junitxml=new.xml").assert_outcomes(passed=1)
    project.write("s.txt", "2")
    project.duel("--dlperf-json=ignored.json", "--junitxml=new.xml").assert_outcomes(passed=1)

    first, repeated, changed = KnownVersions.seen
    assert first == repeated
    assert changed != first
