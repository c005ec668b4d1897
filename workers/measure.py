"""Measure before a run how many members a worker should train at once on its device."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from evodevo.run.records import Job
from workers.alike import differ_in_turns
from workers.attempt import TURN_S
from workers.cache import workload_for
from workers.preload import current_device, workers_of_device
from workers.seeding import derived
from workers.training import Training, leg_of
from workers.turns import Seat, Turns, free_memory, is_out_of_memory, using_device

GROWTH = 1.05
"""Minimum growth of steps per second that justifies doubling the members."""
SPARE = 0.2
"""Fraction of the device's free memory that must stay free."""
WARM_UP_ROUNDS = 4
MEASURED_S = 1.0
_OVER = object()


@using_device
def members_at_once(
    job: Job, founder: Mapping[str, Any], most: int, fixed: int | None = None, stacked: bool | None = None
) -> dict[str, Any]:
    """Return `members` (how many to train at once), `stacked` (whether in one network) and `said` (as text).

    The number is `fixed`, or else doubled from 1 up to `most`, until the steps per second of all members
    grow by less than 5 %, or less than 20 % of (this worker's share of) the device's free memory is left.
    Each number is tried stacked and not, or as `stacked` says, and the faster one counts. Nothing is measured
    on CPU.
    """
    torch.set_num_threads(job.threads)
    workload, _ = workload_for(job)
    device = current_device()
    if device.type != "cuda" or not workload.continues:
        why = "on CPU nothing is gained" if device.type != "cuda" else "a program is not measured"
        said = str(fixed) if fixed else f"1 ({why})"
        return {"members": fixed or 1, "stacked": stacked is not False, "said": said}
    if differ_in_turns(workload, [founder], leg_of(job, job.longest_leg)):
        why = "the workload keeps something in self from one step to the next"
        return {"members": 1, "stacked": False, "said": f"1 ({why})"}
    free_memory()
    free = torch.cuda.mem_get_info(device)[0]

    def rate(count: int, stacked: bool) -> float | None:
        found = None
        try:
            found = steps_per_second(workload, job, founder, count, device, stacked)
        except Exception as why:
            if not is_out_of_memory(why):
                raise
        is_short = torch.cuda.mem_get_info(device)[0] < free * (1 - (1 - SPARE) / workers_of_device())
        free_memory()
        return None if is_short else found

    ways = [False] if stacked is False else [True] if stacked else [False, True]
    best_way: dict[int, bool] = {}

    def best_rate(count: int) -> float | None:
        rates = {way: rate(count, way) for way in (ways if count > 1 else [False])}
        best_way[count] = max(rates, key=lambda way: rates[way] or 0.0)
        return rates[best_way[count]]

    members, rates = (fixed, {fixed: best_rate(fixed)}) if fixed else best_count(best_rate, most)
    told = ", ".join(
        f"{count}{' stacked' * best_way[count]}: {f'{found:.0f}' if found else 'no memory'}"
        for count, found in rates.items()
    )
    said = f"{members}{', stacked' * best_way[members]} (measured; steps per second with {told})"
    return {"members": members, "stacked": best_way[members], "said": said}


def best_count(rate: Callable[[int], float | None], most: int) -> tuple[int, dict[int, float | None]]:
    """Double the number of members while that pays; return the best number and the rates by number.

    `rate` returns the steps per second of a number of members together, None if memory does not suffice.
    """
    best, rates = 1, {1: rate(1)}
    while best * 2 <= most:
        before, now = rates[best], rate(best * 2)
        rates[best * 2] = now
        if now is None or before is None or now < GROWTH * before:
            break
        best *= 2
    return best, rates


def steps_per_second(
    workload: Any,
    job: Job,
    founder: Mapping[str, Any],
    count: int,
    device: torch.device,
    stacked: bool = True,
) -> float:
    """Train `count` equal members briefly, as a unit would; return the steps per second of all together.

    stacked: train them in one network if they can be stacked.
    """
    turns = Turns(device, count)

    def begun(number: int, seat: Seat) -> Training:
        turns.give(seat)
        seed = derived(job.seed, "measure", number)
        training: Training = workload.begin(founder, seed, None, leg_of(job, job.longest_leg))
        turns.share(workload)
        return training

    try:
        rounds = _rounds(workload, turns, begun, [turns.seat() for _ in range(count)], stacked)
        for _ in range(WARM_UP_ROUNDS):
            next(rounds)
        _wait(device)
        began, steps, passed_s = time.monotonic(), 0, 0.0
        while passed_s < MEASURED_S:
            steps += next(rounds)
            passed_s = time.monotonic() - began
        _wait(device)
        return steps / (time.monotonic() - began)
    finally:
        turns.end()


def _rounds(
    workload: Any,
    turns: Turns,
    begun: Callable[[int, Seat], Training],
    seats: Sequence[Seat],
    stacked: bool,
) -> Iterator[int]:
    """Yield forever the number of steps in a turn of each member; members restart after an epoch."""
    trainings = [begun(number, seat) for number, seat in enumerate(seats)]
    turns.settle()
    can_stack = stacked and len(seats) > 1 and hasattr(workload, "stackable")
    while can_stack and workload.stackable(trainings):
        turns.pause()
        steps = workload.train_together(trainings, [seat.randomness for seat in seats])
        yield from (len(seats) for _ in steps)
        turns.settle()
        trainings = [begun(number, seat) for number, seat in enumerate(seats)]
        turns.settle()
    epochs = [workload.train(training) for training in trainings]
    while True:
        count = 0
        for number, seat in enumerate(seats):
            turns.give(seat)
            until = time.monotonic() + TURN_S
            while True:
                if next(epochs[number], _OVER) is _OVER:
                    epochs[number] = workload.train(begun(number, seat))
                    next(epochs[number])
                count += 1
                if time.monotonic() >= until:
                    break
        yield count


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
