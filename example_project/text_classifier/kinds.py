"""Kinds of works of art, and what tells them apart in the description of the medium."""

from __future__ import annotations

KINDS = {
    "print": "print etching lithograph screenprint silkscreen woodcut linocut aquatint drypoint "
    "mezzotint engraving letterpress monoprint monotype photo-etching",
    "photograph": "photograph photographs transparency polaroid",
    "painting": "paint oil acrylic gouache watercolour tempera enamel",
    "drawing": "ink graphite chalk charcoal pencil crayon pastel",
    "film": "video film projection audio sound slide slides",
    "object": "",
}
OBJECT = len(KINDS) - 1


def kind_of(medium: str) -> int:
    """The place in `KINDS` that the first telling word of the medium stands for, or `OBJECT`."""
    places = {word: place for place, words in enumerate(KINDS.values()) for word in words.split()}
    words = medium.lower().replace(",", " ").split()
    return next((places[word] for word in words if word in places), OBJECT)
