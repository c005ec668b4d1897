"""How long to wait before retrying. Pure except for the jitter, which never enters a history."""

import random
from collections.abc import Callable

FIRST_S = 0.5
LONGEST_S = 60.0
_CHANCE = random.SystemRandom()


def pause_s(failures: int, chance: Callable[[], float] = _CHANCE.random) -> float:
    """Return the seconds to wait after `failures` failures in a row: doubling, up to a minute.

    `chance` (0 to 1) removes up to half of it, so that clients that failed together do not return together.
    """
    longest = min(LONGEST_S, FIRST_S * 2.0 ** min(failures - 1, 30))
    return longest * (1 - chance() / 2)
