"""How long what failed waits before it is tried again. Pure but for the jitter, which no history knows of."""

import random
from collections.abc import Callable

FIRST_S = 0.5
LONGEST_S = 60.0
_CHANCE = random.SystemRandom()


def pause_s(failures: int, chance: Callable[[], float] = _CHANCE.random) -> float:
    """Return the seconds to wait after so many failures in a row: doubling, to a minute at the longest.

    `chance` (0 to 1) takes up to half of it away, so that those who failed together do not return together.
    """
    longest = min(LONGEST_S, FIRST_S * 2.0 ** min(failures - 1, 30))
    return longest * (1 - chance() / 2)
