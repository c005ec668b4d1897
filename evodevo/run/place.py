"""Locate an error in user code."""

import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "evodevo", ROOT / "workers")


def place_of(error: BaseException, *not_in: str, method: Callable[..., Any] | None = None) -> str:
    """Return ` (in FUNCTION, FILE:LINE)` for the innermost frame of user code.

    User code is outside evodevo, the installed packages and the files `not_in`. If no frame qualifies, return
    the start of `method` if it is user code (it was called, but no line of it was reached), or else a frame
    of evodevo, or else any frame; return an empty text if there are no frames. For a `SyntaxError`, return `
    (in FILE:LINE)`, the line that cannot be parsed.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f" (in {error.filename}:{error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename not in not_in]
    here = [frame for frame in frames if not _is_installed(frame.filename)]
    users = [frame for frame in here if not _is_own(frame.filename)]
    if not users and method is not None and (place := place_of_method(method)):
        return place
    for found in (users, here, frames):
        if found:
            return f" (in {found[-1].name}, {found[-1].filename}:{found[-1].lineno})"
    return ""


def place_of_method(method: Callable[..., Any]) -> str:
    """Return ` (in FUNCTION, FILE:LINE)` for the start of a method; empty if it is not user code."""
    code = getattr(method, "__code__", None)
    if code is None or _is_installed(code.co_filename) or _is_own(code.co_filename):
        return ""
    return f" (in {code.co_name}, {code.co_filename}:{code.co_firstlineno})"


def _is_installed(filename: str) -> bool:
    installed = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib"))
    return filename.startswith((*installed, "<"))


def _is_own(filename: str) -> bool:
    return bool(set(PACKAGES) & set(Path(filename).parents))
