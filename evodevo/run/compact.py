"""Mappings of names to numbers that take less memory than a dict.

A history has several of them per member, and most have the names of another member's. Names and types are
kept once, as a layout, and the values as bytes.
"""

import struct
import sys
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from functools import lru_cache
from typing import Any, TypeVar

Value = TypeVar("Value")

CODES: Mapping[type, str] = {float: "d", int: "q", bool: "?"}
"""What `struct` calls the types that are packed; a value keeps its type."""
MOST_LAYOUTS = 1024
"""Number of layouts that are remembered, so that names which never recur are not kept for good."""


class _Layout:
    __slots__ = ("at", "pack", "unpack")

    def __init__(self, names: tuple[str, ...], codes: str) -> None:
        whole = struct.Struct(f"<{codes}")
        self.pack, self.unpack = whole.pack, whole.unpack
        self.at = {name: at for at, name in enumerate(names)}


@lru_cache(MOST_LAYOUTS)
def _layout_of(names: tuple[str, ...], types: tuple[type, ...]) -> _Layout:
    return _Layout(names, "".join(CODES[one] for one in types))


class Compact(Mapping[str, Any]):
    """The values that were packed, in their order; it cannot be changed. Made by `compact`."""

    __slots__ = ("_data", "_layout")

    def __init__(self, layout: _Layout, data: bytes) -> None:
        self._layout = layout
        self._data = data

    def __getitem__(self, name: str) -> Any:
        at = self._layout.at[name]
        return self._layout.unpack(self._data)[at]

    def get(self, name: str, default: Any = None) -> Any:
        at = self._layout.at.get(name)
        return default if at is None else self._layout.unpack(self._data)[at]

    def __contains__(self, name: object) -> bool:
        return name in self._layout.at

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout.at)

    def __len__(self) -> int:
        return len(self._layout.at)

    def keys(self) -> KeysView[str]:
        return self._layout.at.keys()

    def items(self) -> ItemsView[str, Any]:
        return self._as_dict().items()

    def values(self) -> ValuesView[Any]:
        return self._as_dict().values()

    def __repr__(self) -> str:
        return repr(self._as_dict())

    def __reduce__(self) -> tuple[Any, ...]:
        return compact, (self._as_dict(),)

    def _as_dict(self) -> dict[str, Any]:
        return dict(zip(self._layout.at, self._layout.unpack(self._data), strict=True))


def compact(values: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return equal values in less memory; in a dict if not all of them are numbers of 64 bits."""
    if type(values) is Compact:
        return values
    try:
        layout = _layout_of(tuple(values), tuple(map(type, values.values())))
        return Compact(layout, layout.pack(*values.values()))
    except (KeyError, struct.error):
        return {sys.intern(name): _shared(value) for name, value in values.items()}


def _shared(value: Any) -> Any:
    """Return a text of which there is only one copy; any other value as it is."""
    return sys.intern(value) if type(value) is str else value
