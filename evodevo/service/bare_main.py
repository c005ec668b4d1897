"""Start worker processes that do not import the user's script."""

import contextlib
import sys
from collections.abc import Iterator


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
