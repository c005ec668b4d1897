"""Where in a user's code an error came up."""

import sysconfig
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "evodevo", ROOT / "workers")


def place_of(error: BaseException, *not_in: str) -> str:
    """Return ` (in FUNCTION, FILE:LINE)`, the innermost frame of a user's code, if there is one.

    That is one outside evodevo, what is installed, and the files `not_in`; else one of evodevo's, else any.
    """
    installed = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib"))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename not in not_in]
    here = [frame for frame in frames if not frame.filename.startswith((*installed, "<"))]
    users = [frame for frame in here if not set(PACKAGES) & set(Path(frame.filename).parents)]
    for found in (users, here, frames):
        if found:
            return f" (in {found[-1].name}, {found[-1].filename}:{found[-1].lineno})"
    return ""
