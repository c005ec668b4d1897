"""Define types of values in a config: plain data and times."""

import math
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

_TIME = re.compile(r"(?:(\d+)-)?(\d{1,3}(?::[0-5]\d){1,2})")
"""[days-]hours:minutes:seconds; also minutes:seconds without days, and hours:minutes with them."""


def _check_plain(value: Any) -> Any:
    """Return `value`. Raises `ValueError` for what JSON cannot hold, as the journal keeps configs as JSON."""
    match value:
        case dict():
            for key, inner in value.items():
                if not isinstance(key, str):
                    raise ValueError(f"key {key!r} should be text; write it in quotes")
                _check_plain(inner)
        case list():
            for inner in value:
                _check_plain(inner)
        case None | bool() | int() | str():
            pass
        case float() if math.isfinite(value):
            pass
        case _:
            raise ValueError(
                f"{value!r} should be a finite number, text, true, false or null, or lists of them"
            )
    return value


def _check_walltime(walltime: Any) -> Any:
    if not isinstance(walltime, str) or not _TIME.fullmatch(walltime):
        unit = "; a number alone could be minutes or seconds" if isinstance(walltime, int | float) else ""
        raise ValueError(f"{walltime!r} should be a time such as 04:00:00, or 2-00:00:00 with days{unit}")
    return walltime


def _seconds_of(duration: Any) -> Any:
    """Return a time in seconds; a number is in seconds already. Raises `ValueError`."""
    if not isinstance(duration, str):
        return duration
    found = _TIME.fullmatch(duration)
    if found is None:
        raise ValueError(f"{duration!r} should be a number of seconds, or a time such as 12:00:00")
    days, clock = found.groups()
    numbers = [int(number) for number in clock.split(":")]
    if days is not None and len(numbers) == 2:
        numbers.append(0)
    seconds = 0
    for number in numbers:
        seconds = 60 * seconds + number
    return float(86400 * int(days or 0) + seconds)


Plain = Annotated[dict[str, Any], AfterValidator(_check_plain)]
Walltime = Annotated[str, BeforeValidator(_check_walltime)]
"""A time limit of sbatch: [days-]hours:minutes:seconds."""
Seconds = Annotated[float, Field(gt=0), BeforeValidator(_seconds_of)]
"""A number of seconds, or a time such as 12:00:00."""
