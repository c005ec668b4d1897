"""Worker processes that do not run the user's script again."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Within the block, processes that are started do not import the main module.

    `multiprocessing` would have each import the script that runs, which starts a cluster again unless the
    script is guarded by `if __name__ == "__main__":`. It goes by these two attributes.
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
