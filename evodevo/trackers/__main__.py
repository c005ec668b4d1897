"""`python -m evodevo.trackers DIRECTORY NAME`: the process of a tracker, which a scheduler starts."""

import sys
from pathlib import Path

from evodevo.trackers.follow import main

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
