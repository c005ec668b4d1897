#!/usr/bin/env python
"""Run a config, like `evodevo launch`: `python scripts/launch.py configs/quickstart.yaml`. See --help."""

import sys

from evodevo.cli import main

if __name__ == "__main__":
    main(["launch", *sys.argv[1:]])
