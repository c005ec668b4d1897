"""Unpack the packed data sets in the layouts that the workloads read: `unpack.py PACKED_DATA`."""

import subprocess
import sys
import time
from pathlib import Path

from part import arguments, found

SETS = ("cifar10", "mnist", "iwslt15", "bccd")


def main() -> int:
    given = arguments(__doc__)
    prepare = Path(given.names[0], "prepare.py")
    statuses = []
    for name in SETS:
        began = time.monotonic()
        told = subprocess.run([sys.executable, str(prepare), "--root", str(given.data), name], check=False)
        statuses.append(told.returncode)
        found(data=name, exit=told.returncode, seconds=round(time.monotonic() - began, 1))
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
