#!/usr/bin/env python
"""Carry out the run of a config: `python scripts/launch.py configs/quickstart.yaml`. See --help.

The same program as `evodevo launch`.
"""

import sys

from evodevo.cli import main

if __name__ == "__main__":
    main(["launch", *sys.argv[1:]])
