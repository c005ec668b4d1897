"""Convert the short forms of a search space that `evodevo.minimise` accepts to loci."""

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from evodevo.errors import UsageError

FORMS = (
    'give (low, high), (low, high, "log"), a list of choices, or a locus such as '
    '{"type": "float", "low": 1e-4, "high": 0.1, "scale": "log"}'
)


def loci_of(space: Mapping[str, Any], initial: Mapping[str, Any]) -> dict[str, Any]:
    """Return the loci of a space, as in a config. Raises `UsageError`."""
    if not isinstance(space, Mapping) or not space:
        raise UsageError(f'space is {space!r}; give {{"name": (low, high), ...}}')
    for name in initial:
        if name not in space:
            raise UsageError(f"initial: {name!r} is not in the space; that has {', '.join(map(str, space))}")
    found = {}
    for name, given in space.items():
        if not isinstance(name, str):
            raise UsageError(
                f"space: the name {name!r} should be a string, the name of an argument of the function"
            )
        try:
            found[name] = locus_of(name, given)
            if name in initial:
                value = _plain(initial[name])
                is_float = found[name].get("type") == "float"
                found[name]["initial"] = _real(value) if is_float and type(value) is int else value
        except RecursionError:
            raise UsageError(f"space: {name} is nested too deeply, or contains itself; {FORMS}") from None
    return found


def locus_of(name: str, given: Any) -> dict[str, Any]:
    """Return the locus for one argument. Raises `UsageError`, naming the argument."""
    match given:
        case BaseModel():
            return {"type": "float", **given.model_dump(exclude_none=True)}
        case Mapping():
            return {str(key): _plain(value) for key, value in given.items()}
        case list():
            return {"type": "choice", "choices": [_plain(choice) for choice in given]}
        case (low, high) if _is_number(low) and _is_number(high):
            return _between(low, high)
        case (low, high, "log" | "linear" as scale) if _is_number(low) and _is_number(high):
            return {**_between(low, high), "scale": scale}
    raise UsageError(f"space: {name} is {given!r}; {FORMS}")


def _between(low: Any, high: Any) -> dict[str, Any]:
    low, high = _plain(low), _plain(high)
    if type(low) is int and type(high) is int:
        return {"type": "int", "low": low, "high": high}
    return {"type": "float", "low": _real(low), "high": _real(high)}


def _real(value: Any) -> float:
    """Return a float; an int too large for one becomes infinite, which the config refuses by name."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _is_number(value: Any) -> bool:
    plain = _plain(value)
    return isinstance(plain, int | float) and not isinstance(plain, bool)


def _plain(value: Any) -> Any:
    """Convert numpy's numbers to Python's, and tuples to lists."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if not isinstance(value, bool | int | float | str) and getattr(value, "size", 0) == 1:
        return value.item()
    return value
