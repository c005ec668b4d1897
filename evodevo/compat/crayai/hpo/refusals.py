"""Refuse unknown keywords and unsupported values."""

import math
import os
from collections.abc import Mapping
from typing import Any, NoReturn

from evodevo.errors import UsageError


def refuse_unknown(call: str, unknown: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise `UsageError` if a call got unknown keywords."""
    for name in unknown:
        raise UsageError(f"{call}: the keyword {name!r} is not supported; known: {', '.join(known)}")


def refuse(call: str, name: str, value: Any, why: str) -> NoReturn:
    """Raise `UsageError` for an unsupported value of a keyword."""
    raise UsageError(f"{call}: {name}={value!r} is not supported: {why}")


def check_number(call: str, name: str, value: Any) -> float:
    """Return `value` as a float. Raises `UsageError` if it is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{call}: {name} is {value!r} and should be a number")
    return float(value)


def check_path(call: str, name: str, value: Any) -> str:
    """Return `value` as a path, "" for none. Raises `UsageError` if it is neither a path nor None."""
    if value is not None and not isinstance(value, str | os.PathLike):
        raise UsageError(f"{call}: {name} is {value!r} and should be a path")
    return os.fspath(value or "")


def check_count(call: str, name: str, value: Any, least: int = 1) -> int:
    """Return `value`. Raises `UsageError` if it is not a whole number, or less than `least`."""
    if type(value) is not int or value < least:
        raise UsageError(f"{call}: {name} is {value!r} and should be a whole number of {least} or more")
    return value
