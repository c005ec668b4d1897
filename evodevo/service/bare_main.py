"""Keep worker processes from running the user's script again, or refuse a script that they would run."""

import ast
import contextlib
import sys
from collections.abc import Iterator
from types import FrameType, ModuleType

from evodevo.errors import UsageError


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Prevent processes started within the block from importing the main module.

    `multiprocessing` makes each child import the running script, which would start another cluster unless it
    is guarded by `if __name__ == "__main__":`. It finds the script by the two attributes hidden here.
    """
    main = sys.modules.get("__main__")
    names = [name for name in ("__file__", "__spec__") if main is not None and hasattr(main, name)]
    before = {name: getattr(main, name) for name in names}
    for name in names:
        if name == "__file__":
            delattr(main, name)
        else:
            setattr(main, name, None)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(main, name, value)


def refuse_unguarded_main() -> None:
    """Raise `UsageError` if the running script calls this outside `if __name__ == "__main__":`.

    Each worker process imports the script, and would start a cluster itself.
    """
    main = sys.modules.get("__main__")
    frame = _frame_of(main) if main is not None and _is_imported_by_children(main) else None
    if frame is None or _is_guarded(frame):
        return
    raise UsageError(
        f"line {frame.f_lineno} of {frame.f_code.co_filename} starts workers, which import this script and "
        'would start workers themselves: put that line under `if __name__ == "__main__":`'
    )


def _is_imported_by_children(main: ModuleType) -> bool:
    """Return whether `multiprocessing` has new processes import the main module, by its own rules."""
    name = getattr(getattr(main, "__spec__", None), "name", None)
    return hasattr(main, "__file__") if name is None else name.rpartition(".")[2] != "__main__"


def _frame_of(main: ModuleType) -> FrameType | None:
    """Return the frame of the script that is running; None in another thread or an interactive session."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not (frame.f_code.co_name == "<module>" and frame.f_globals is vars(main)):
        frame = frame.f_back
    return frame


def _is_guarded(frame: FrameType) -> bool:
    """Return whether a line lies within an `if` on `__name__`, or its file cannot be read."""
    try:
        with open(frame.f_code.co_filename, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return True
    return any(
        isinstance(node, ast.If)
        and node.lineno <= frame.f_lineno <= (node.end_lineno or node.lineno)
        and any(isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(node.test))
        for node in ast.walk(tree)
    )
