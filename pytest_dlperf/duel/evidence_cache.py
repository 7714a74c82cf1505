"""Files that keep the pair effects of duels between the same two versions of the code."""

from __future__ import annotations

import hashlib
import json
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_dlperf._files import locked, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_SCHEMA: Final = 1
_NOTHING: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType({})


class PairEffectCache:
    """Log ratios of the pairs of earlier duels: a file for each measurement of two versions.

    A run that is repeated without a change of the code is not a new chance to pass: it continues
    from the pairs that were measured before. A file that cannot be read counts as absent, since
    it is a cache of this machine, not an accepted baseline.

    Args:
        folder: of caches; None keeps nothing.
        versions: identifiers of both versions of the code and of their software.
        warn: takes a sentence if the pairs cannot be kept.
    """

    def __init__(
        self,
        folder: Path | None,
        versions: tuple[str, ...] = (),
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder = None if folder is None else folder / _digest(*versions)
        self._warn = warn
        self._has_warned = False

    def recall(self, test: str, name: str) -> Mapping[str, tuple[float, ...]]:
        """Log ratios of all pairs so far, by the text of the budget."""
        if self._folder is None:
            return _NOTHING
        try:
            content = json.loads((self._folder / _file(test, name)).read_bytes())
            if content["schema"] != _SCHEMA:
                return _NOTHING
            effects_of = {
                str(text): tuple(float(effect) for effect in effects)
                for text, effects in content["effects"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return _NOTHING
        finite = all(math.isfinite(effect) for effects in effects_of.values() for effect in effects)
        return MappingProxyType(effects_of) if finite else _NOTHING

    def add(self, test: str, name: str, effects: Mapping[str, tuple[float, ...]]) -> None:
        """Append those of another duel; warns once where nothing can be written."""
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with locked(self._folder):
                before = self.recall(test, name)
                merged = {
                    text: [*before.get(text, ()), *effects.get(text, ())]
                    for text in {**before, **effects}
                }
                content = {"schema": _SCHEMA, "test": test, "name": name, "effects": merged}
                path = self._folder / _file(test, name)
                write_atomically(path, json.dumps(content, indent=1).encode())
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                self._warn(
                    f"a duel that is repeated does not continue from this one: {self._folder} "
                    f"cannot be written: {error.strerror or error}"
                )


def _file(test: str, name: str) -> str:
    return f"{_digest(test, name)}.json"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
