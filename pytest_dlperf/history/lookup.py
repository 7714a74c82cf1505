"""Sources: what `compare` and `history` read, found by how the user names it."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from pytest_dlperf._command import add_rootdir, rootdir
from pytest_dlperf.config.option_values import HISTORY_VARIABLE
from pytest_dlperf.errors import UsageError
from pytest_dlperf.git import git
from pytest_dlperf.history.entries import Query, baseline_of
from pytest_dlperf.history.sources import Source, committed, source_of_report
from pytest_dlperf.history.store import default_url, open_history
from pytest_dlperf.history.url import parse_url
from pytest_dlperf.report.json_report import UNREADABLE, damaged, read_report
from pytest_dlperf.results.baseline import MOST_SESSIONS, short
from pytest_dlperf.results.environment import Environment, MachineClass
from pytest_dlperf.results.measurement import title_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from pytest_dlperf.history.entries import Entry
    from pytest_dlperf.history.store import History

_LATEST: Final = "latest"
_HASH: Final = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_PREFIX: Final = re.compile("[0-9a-f]{4,63}")
_NAMED: Final = 5


def add_history_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which history is read, and of which machine class."""
    parser.add_argument(
        "--history",
        metavar="URL",
        help=f"the database; default: ${HISTORY_VARIABLE}, or else the SQLite file in .dlperf",
    )
    add_rootdir(parser)
    parser.add_argument("--machine", metavar="SLUG", help="only what this machine class measured")


class Reader:
    """What is read from the history, which is opened when something is asked of it.

    Args:
        given: what `add_history_arguments` has read.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        self.root = rootdir(given)
        self.machine: str | None = given.machine
        self._url: str = given.history or os.environ.get(HISTORY_VARIABLE) or default_url(self.root)
        self._opened: History | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            self._opened.close()

    @cached_property
    def history(self) -> History:
        """The history.

        Raises:
            UsageError: if there is none.
            HistoryError: if it cannot be read.
        """
        place = parse_url(self._url)
        if isinstance(place, Path) and not place.exists():
            # One that is only read must not come into being by that.
            raise UsageError(
                f"there is no history at {place}",
                "every run of pytest that measures writes it; or name another one: --history URL",
            )
        self._opened = open_history(self._url)
        return self._opened

    def source(self, given: str, text: str, *, accepted: bool) -> Source:
        """What the user names: `latest`, a report's file, a branch, or a commit.

        A branch of the history wins over a commit, unless that is given in full.

        Args:
            given: the name.
            text: what the title of each measurement must contain.
            accepted: of a branch: whether only what later runs may be compared with counts.

        Raises:
            UsageError: if it names nothing that was measured.
            HistoryError: if the history cannot be read.
        """
        if given.endswith(".json"):
            return _with(self._file(given), text)
        if given == _LATEST:
            return _with(self._latest(), text)
        if not _HASH.fullmatch(given) and self._is_branch(given):
            return _with(self._branch(given, text, accepted=accepted), text)
        commit = self._commit_of(given)
        if commit:
            return _with(self._commit(given, commit), text)
        if _is_file(given):
            return _with(self._file(given), text)
        raise UsageError(
            f"{given} is no branch, commit or run that was measured: there is no such name in "
            f"{self.history.place}, nor in git",
            self._known(),
        )

    def _file(self, given: str) -> Source:
        path = Path(given)
        report = read_report(path)
        try:
            machine = MachineClass.from_json(report.content["machine"])
            environment = Environment.from_json(report.content["environment"])
            commit = str(report.content["commit"])
        except UNREADABLE as error:
            raise damaged(path, error) from error
        if self.machine not in {None, machine.slug}:
            raise UsageError(f"{given} was measured on {machine.slug}, not on {self.machine}")
        return source_of_report(given, report.records, machine, environment, commit)

    def _latest(self) -> Source:
        runs = self.history.runs(Query(machine=self.machine, limit=1))
        if not runs:
            where = f" on {self.machine}" if self.machine else ""
            raise UsageError(f"{self.history.place} has no run{where}", self._known())
        return Source(_LATEST, "run", self.history.entries(Query(run=runs[0].key)))

    def _is_branch(self, given: str) -> bool:
        return bool(given and self.history.runs(Query(branch=given, limit=1)))

    def _branch(self, given: str, text: str, *, accepted: bool) -> Source:
        query = Query(branch=given, machine=self.machine, acceptable=accepted)
        found: list[Entry] = []
        places = self.history.places(query)
        titles = dict.fromkeys(title_of(place.test, place.name) for place in places)
        if titles and not any(text in title for title in titles):
            raise _no_test(given, text, titles)
        for place in places:
            if text not in title_of(place.test, place.name):
                continue
            of_place = replace(query, test=place.test, name=place.name, machine=place.machine.slug)
            found += self._sessions(of_place)
        found.sort(key=lambda entry: entry.run.began, reverse=True)
        return self._checked(Source(given, "branch", tuple(found)))

    def _sessions(self, query: Query) -> list[Entry]:
        """The newest entries of a measurement, as many as a branch stands for, or more.

        Uncommitted changes do not count, but for those that were accepted: they were meant.
        """
        limit = MOST_SESSIONS + 1  # one may be what the branch is compared with
        while True:
            some = self.history.entries(replace(query, limit=limit))
            kept = [entry for entry in some if entry.renews or committed(entry.run)]
            accepted = baseline_of(kept, MOST_SESSIONS)
            enough = accepted is not None and len(accepted.sessions) == MOST_SESSIONS
            if enough or len(some) < limit or any(entry.renews for entry in kept):
                return kept
            limit *= 4

    def _commit_of(self, given: str) -> str:
        """The full hash; empty if there is no such commit."""
        if _HASH.fullmatch(given):
            return given
        known = git(
            self.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{given}^{{commit}}"
        )
        if known or not _PREFIX.fullmatch(given):
            return known
        # Of code that is not here, as in a shallow clone, the history still knows the commit.
        hashes = {run.revision.commit.rstrip("+") for run in self.history.runs(Query())}
        matching = sorted(commit for commit in hashes if commit.startswith(given))
        if len(matching) > 1:
            raise UsageError(
                f"{given} is the beginning of {len(matching)} commits in {self.history.place}",
                ", ".join(matching[:_NAMED]),
            )
        return matching[0] if matching else ""

    def _commit(self, given: str, commit: str) -> Source:
        query = Query(commits=(commit,), machine=self.machine)
        found = self.history.entries(query)
        if not found and self.history.runs(Query(commits=(f"{commit}+",), limit=1)):
            raise UsageError(
                f"{given} ({short(commit)}) was measured with uncommitted changes only",
                "measure it without: git stash, and run pytest again",
            )
        return self._checked(Source(given, "commit", found))

    def _checked(self, source: Source) -> Source:
        if source.entries:
            return source
        where = f" on {self.machine}" if self.machine else ""
        raise UsageError(
            f"{source.given} is a {source.kind} that was not measured{where}: "
            f"{self.history.place} has no run of it that could be compared",
            self._known(),
        )

    def _known(self) -> str:
        """What was measured, to choose from."""
        runs = self.history.runs(Query(limit=1000))
        branches = dict.fromkeys(run.revision.branch for run in runs if run.revision.branch)
        commits = dict.fromkeys(short(run.revision.commit) for run in runs if committed(run))
        machines = dict.fromkeys(run.machine.slug for run in runs)
        parts = [
            f"{what}: {', '.join(list(names)[:_NAMED])}{', ...' if len(names) > _NAMED else ''}"
            for what, names in (
                ("branches", branches),
                ("commits", commits),
                ("machine classes", machines),
            )
            if names
        ]
        return "; ".join(parts) or "nothing was measured yet: run pytest"


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except OSError:  # such as a name that is too long for one
        return False


def _with(source: Source, text: str) -> Source:
    """The source with the measurements whose title contains a text."""
    found = tuple(entry for entry in source.entries if text in title_of(entry.test, entry.name))
    if not found:
        titles = dict.fromkeys(title_of(entry.test, entry.name) for entry in source.entries)
        raise _no_test(source.given, text, titles)
    return Source(source.given, source.kind, found, source.left_out)


def _no_test(given: str, text: str, titles: Iterable[str]) -> UsageError:
    return UsageError(
        f"{given} has no test with {text!r:.80} in its name", ", ".join(_some(titles))
    )


def _some(titles: Iterable[str]) -> Iterator[str]:
    for number, title in enumerate(titles):
        if number == _NAMED:
            yield "..."
            return
        yield title
