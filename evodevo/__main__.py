"""`python -m evodevo` is the command `evodevo`."""

from evodevo.cli import main

if __name__ == "__main__":
    main()
