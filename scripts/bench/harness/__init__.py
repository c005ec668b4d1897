"""The parts of scripts/bench/faults.py: processes, faults, and the comparison of histories."""
