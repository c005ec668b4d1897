"""State of a single run, and the logic that advances it."""
