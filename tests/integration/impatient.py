"""A preload for schedulers in tests: what failed is tried again after a second at the latest."""

from evodevo.run import pauses

pauses.LONGEST_S = 1.0
