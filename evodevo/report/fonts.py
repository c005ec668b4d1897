"""Find fonts on this machine for the characters of a picture.

Matplotlib's own font has Latin, Greek, Cyrillic, Arabic and Hebrew letters. Other characters are looked up in
all installed fonts, once per process and character.
"""

import functools
import unicodedata
from collections.abc import Iterable
from typing import Any

_found: dict[str, str | None] = {}
"""Character missing from the default font -> the family of a font that has it, or None."""


def can_draw(text: str) -> bool:
    """Return whether a picture can show every character of a text."""
    return all(map(_readable, text)) and None not in _families_of(text).values()


def further_families(texts: Iterable[str]) -> list[str]:
    """Return the font families that texts need in addition to the default."""
    return list(dict.fromkeys(filter(None, _families_of("".join(texts)).values())))


def _readable(character: str) -> bool:
    """Return whether matplotlib writes letters in the right order: before 3.11, only left to right."""
    from matplotlib import ft2font

    return unicodedata.bidirectional(character) not in ("R", "AL") or hasattr(ft2font, "LayoutItem")


def _families_of(text: str) -> dict[str, str | None]:
    missing = {character for character in text if character != "\n"} - _default()
    if unknown := missing - _found.keys():
        _look_for(unknown)
    return {character: _found[character] for character in sorted(missing)}


@functools.cache
def _default() -> frozenset[str]:
    from matplotlib.font_manager import FontProperties, findfont

    return _characters(findfont(FontProperties()))


def _look_for(characters: set[str]) -> None:
    """Look up characters in all installed fonts, plain ones first, including those new to matplotlib."""
    from matplotlib import font_manager

    manager, left = font_manager.fontManager, set(characters)
    for path in sorted({*font_manager.findSystemFonts()} - {entry.fname for entry in manager.ttflist}):
        try:
            manager.addfont(path)
        except Exception:  # files that are not fonts are skipped
            continue
    for entry in sorted(manager.ttflist, key=_plainness):
        if not left:
            break
        if "Last Resort" not in entry.name and (has := left & _characters(entry.fname)):
            _found.update(dict.fromkeys(has, entry.name))
            left -= has
    _found.update(dict.fromkeys(left))


def _plainness(entry: Any) -> tuple[Any, ...]:
    """Return a sort key that puts upright fonts of normal weight first."""
    weight = entry.weight if isinstance(entry.weight, int) else 400
    return entry.style != "normal", abs(weight - 400), "Sans" not in entry.name, entry.name, entry.fname


def _characters(path: str) -> frozenset[str]:
    """Return the characters of a font; empty if it is a bitmap font or cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()
