"""Check before a run that members trained in turns equal members trained one after the other."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from workers.preload import current_device
from workers.training import Leg
from workers.turns import Turns

STEPS = 3
SEED = 0


def differ_in_turns(workload: Any, founders: Sequence[Mapping[str, Any]], leg: Leg) -> bool:
    """Return whether two members come out differently trained in turns and one after the other.

    Return False if training is not reproducible or fails: then the comparison says nothing.
    """
    two = [founders[0], founders[1 % len(founders)]]
    try:
        alone = [_trained(workload, two[at : at + 1], SEED + at, leg) for at in range(2)]
        again = [_trained(workload, two[at : at + 1], SEED + at, leg) for at in range(2)]
    except Exception:  # the rehearsal has reported it, or these hyperparameters are allowed to fail
        return False
    in_turns = _trained(workload, two, SEED, leg)
    return alone == again and in_turns != [data for one in alone for data in one]


def _trained(workload: Any, members: Sequence[Mapping[str, Any]], seed: int, leg: Leg) -> list[bytes]:
    """Return the checkpoints of members after `STEPS` steps in turns."""
    turns = Turns(current_device(), len(members))
    seats, trainings = [turns.seat() for _ in members], []
    try:
        for at, (seat, hyperparameters) in enumerate(zip(seats, members, strict=True)):
            turns.give(seat)
            trainings.append(workload.begin(hyperparameters, seed + at, None, leg))
            turns.share(workload)
        turns.settle()
        epochs = [workload.train(training) for training in trainings]
        for _ in range(STEPS):
            for seat, epoch in zip(seats, epochs, strict=True):
                turns.give(seat)
                list(islice(epoch, 1))
                turns.settle()
        found = []
        for seat, epoch, training in zip(seats, epochs, trainings, strict=True):
            turns.give(seat)
            epoch.close()
            found.append(workload.checkpoint(training))
        return found
    finally:
        turns.end()
