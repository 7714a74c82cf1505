"""`pytest-dlperf baselines`: the accepted baselines."""

from __future__ import annotations

from typing import Final

from pytest_dlperf._command import Command
from pytest_dlperf.baselines.baselines_anchor import ANCHOR
from pytest_dlperf.baselines.baselines_list import LIST, list_baselines
from pytest_dlperf.baselines.baselines_rename import RENAME
from pytest_dlperf.baselines.cli import PRUNE
from pytest_dlperf.baselines.review import REVIEW
from pytest_dlperf.rootdir import add_rootdir

BASELINES: Final = Command(
    "baselines",
    "list the accepted baselines, or change them with one of the commands below",
    add_rootdir,
    list_baselines,
    (LIST, REVIEW, ANCHOR, PRUNE, RENAME),
)
