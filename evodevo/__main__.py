"""Run the command `evodevo` as `python -m evodevo`."""

from evodevo.cli import main

if __name__ == "__main__":
    main()
