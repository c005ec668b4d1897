"""What scripts/bench/faults.py is made of: processes, faults, and how a history is compared with another."""
