"""Where in a user's code an error came up."""

import sysconfig
import traceback
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def place_of(error: BaseException) -> str:
    """Return ` (in FUNCTION, FILE:LINE)`, the innermost frame outside evodevo and what is installed.

    Empty if there is none.
    """
    installed = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib"))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if PACKAGE not in path.parents and not frame.filename.startswith((*installed, "<")):
            return f" (in {frame.name}, {frame.filename}:{frame.lineno})"
    return ""
