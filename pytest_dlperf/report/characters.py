"""Characters that a terminal's encoding lacks, replaced by those that it has."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

_REPLACEMENTS: Final = MappingProxyType(
    {
        "±": "+-",
        "µ": "u",
        "≤": "<=",
        "≥": ">=",
        "→": "->",
        **dict(zip("▁▂▃▄▅▆▇█", "_.-~=+*#", strict=True)),
        "…": "~",  # one column, as tables count it
    }
)
_ANY: Final = "?"


def printable(text: str, encoding: str | None) -> str:
    """The text, with other characters for those that an encoding lacks.

    Lone surrogates, which stand for bytes of file names that are no text, are lacked by all.
    """
    encoding = encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_encodable(character, encoding) for character in text)
    except LookupError:
        return printable(text, "ascii")
    return text


def _encodable(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return _REPLACEMENTS.get(character, _ANY)
    return character
