"""Where in a user's code an error came up."""

import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]


def place_of(error: BaseException) -> str:
    """Return ` (in FUNCTION, FILE:LINE)`, the innermost frame outside evodevo and what is installed.

    Empty if there is none.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_users(frame.filename):
            return f" (in {frame.name}, {frame.filename}:{frame.lineno})"
    return ""


def place_of_method(method: Callable[..., Any]) -> str:
    """Return ` (in FUNCTION, FILE:LINE)` of where a method begins; empty if it is not the user's own."""
    code = getattr(method, "__code__", None)
    if code is None or not _is_users(code.co_filename):
        return ""
    return f" (in {code.co_name}, {code.co_filename}:{code.co_firstlineno})"


def _is_users(filename: str) -> bool:
    installed = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib"))
    return PACKAGE not in Path(filename).parents and not filename.startswith((*installed, "<"))
