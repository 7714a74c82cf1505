"""Evidence: what duels of the same two versions of the code have shown, for runs that go on."""

from __future__ import annotations

import hashlib
import json
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_dlperf._files import locked, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SCHEMA: Final = 1
_NOTHING: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType({})


class NoPairEffects:
    """Remembers nothing."""

    def recall(self, test: str, name: str) -> Mapping[str, tuple[float, ...]]:
        """Nothing."""
        del test, name
        return _NOTHING

    def add(self, test: str, name: str, effects: Mapping[str, tuple[float, ...]]) -> None:
        """Forget it."""


class PairEffectFiles:
    """A file a measurement, in a folder of the two versions.

    A run that is repeated without a change of the code is not a new chance: it goes on with the
    pairs that were measured before. What cannot be read is as if it were not there, since it is
    a memory of this machine's, not something that was accepted.

    Args:
        folder: of caches.
        versions: what names both versions of the code, and what they run with.
    """

    def __init__(self, folder: Path, versions: tuple[str, ...]) -> None:
        self._folder = folder / _digest(*versions)

    def recall(self, test: str, name: str) -> Mapping[str, tuple[float, ...]]:
        """The log ratios of the pairs before, by the text of the budget."""
        try:
            content = json.loads(self._path(test, name).read_bytes())
            if content["schema"] != _SCHEMA:
                return _NOTHING
            found = {
                str(text): tuple(float(effect) for effect in effects)
                for text, effects in content["effects"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return _NOTHING
        finite = all(math.isfinite(effect) for effects in found.values() for effect in effects)
        return MappingProxyType(found) if finite else _NOTHING

    def add(self, test: str, name: str, effects: Mapping[str, tuple[float, ...]]) -> None:
        """Keep those of this duel too; where nothing can be written, nothing is kept."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with locked(self._folder):
                before = self.recall(test, name)
                whole = {
                    text: [*before.get(text, ()), *effects.get(text, ())]
                    for text in {**before, **effects}
                }
                content = {"schema": _SCHEMA, "test": test, "name": name, "effects": whole}
                write_atomically(self._path(test, name), json.dumps(content, indent=1).encode())
        except OSError:
            return

    def _path(self, test: str, name: str) -> Path:
        return self._folder / f"{_digest(test, name)}.json"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
