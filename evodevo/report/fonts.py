"""Which characters the fonts of this machine can show in a picture, and with which fonts.

Matplotlib's own font has Latin, Greek, Cyrillic, Arabic and Hebrew letters; others are looked for in all
fonts that are installed, once per process and character.
"""

import functools
import unicodedata
from collections.abc import Iterable
from typing import Any

_found: dict[str, str | None] = {}
"""Character that the default font does not have -> the family of a font that does, if there is one."""


def can_draw(text: str) -> bool:
    """Return whether a picture can show every character of a text."""
    return all(map(_readable, text)) and None not in _families_of(text).values()


def further_families(texts: Iterable[str]) -> list[str]:
    """Return the families of the fonts that texts need beside the default."""
    return list(dict.fromkeys(filter(None, _families_of("".join(texts)).values())))


def _readable(character: str) -> bool:
    """Whether matplotlib writes the letters in their order: before 3.11 it knew only left to right."""
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
    """Look for characters in all fonts, plain ones first, also those that matplotlib has not listed yet."""
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
    """Order fonts from upright ones of common weight to others."""
    weight = entry.weight if isinstance(entry.weight, int) else 400
    return entry.style != "normal", abs(weight - 400), "Sans" not in entry.name, entry.name, entry.fname


def _characters(path: str) -> frozenset[str]:
    """The characters of a font; none of a font that is made of pictures or cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()
