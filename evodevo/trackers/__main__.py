"""The process of a tracker, started by the scheduler: `python -m evodevo.trackers DIRECTORY NAME`."""

import sys
from pathlib import Path

from evodevo.trackers.follow import main

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
