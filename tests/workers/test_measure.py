"""The best number of concurrent members per worker: the search for it, and a measurement."""

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.workers.toys import HYPERPARAMETERS, Toy, job, prepared, section
from workers import measure
from workers.measure import best_count, members_at_once, steps_per_second
from workers.seeding import Randomness
from workers.training import Training

HERE = "tests.workers.test_measure"
CPU = torch.device("cpu")


class Counting(Toy):
    """Counts the members that begin. `stacks`: they are trained together."""

    stacks = False
    begun = 0

    def begin(self, *given: Any, **named: Any) -> Training:
        self.begun += 1
        return super().begin(*given, **named)

    def stackable(self, trainings: Sequence[Training]) -> bool:
        return self.stacks

    def train_together(
        self, trainings: Sequence[Training], randomness: Sequence[Randomness]
    ) -> Generator[list[Tensor], None, None]:
        for losses in zip(*map(self.train, trainings), strict=True):
            yield list(losses)


@pytest.mark.parametrize(
    ("rates", "most", "members", "tried"),
    [
        ({1: 100, 2: 190, 4: 300, 8: 310, 16: 900}, 99, 4, [1, 2, 4, 8]),
        ({1: 100, 2: 104}, 99, 1, [1, 2]),
        ({1: 100, 2: 106, 4: 111}, 99, 2, [1, 2, 4]),
        ({1: 100, 2: 190, 4: None}, 99, 2, [1, 2, 4]),
        ({1: None, 2: None}, 99, 1, [1, 2]),
        ({1: 100, 2: 190, 4: 380, 8: 760}, 7, 4, [1, 2, 4]),
        ({1: 100}, 1, 1, [1]),
    ],
)
def test_the_number_is_doubled_while_steps_per_second_grow_and_there_is_memory(
    rates: dict[int, float | None], most: int, members: int, tried: list[int]
) -> None:
    found, measured = best_count(rates.__getitem__, most)
    assert (found, list(measured)) == (members, tried)


def test_on_cpu_it_is_one_and_nothing_is_measured(tmp_path: Path) -> None:
    told = members_at_once(job(tmp_path, section(f"{HERE}:Counting")), HYPERPARAMETERS, 8)
    assert told == {"members": 1, "stacked": True, "said": "1 (on CPU nothing is gained)"}
    told = members_at_once(job(tmp_path, section(f"{HERE}:Counting")), HYPERPARAMETERS, 8, 3, False)
    assert told == {"members": 3, "stacked": False, "said": "3"}


@pytest.mark.parametrize("stacks", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_members_train_for_a_second_and_begin_anew_after_each_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, stacks: bool
) -> None:
    """Each reading of the clock takes a quarter of a second; a turn is a step."""
    clock = SimpleNamespace(now=0.0)

    def monotonic() -> float:
        clock.now += 0.25
        return clock.now

    monkeypatch.setattr(measure, "time", SimpleNamespace(monotonic=monotonic))
    workload = Counting()
    workload.stacks = stacks
    prepared(workload)
    rate = steps_per_second(workload, job(tmp_path), HYPERPARAMETERS, count, CPU)
    together = stacks and count > 1
    rounds = 4 if together else {1: 2, 3: 1}[count]
    passed_s = 0.25 * (1 + rounds * (1 if together else 1 + 2 * count))
    assert rate == pytest.approx(count * rounds / passed_s)
    epochs = -(-(measure.WARM_UP_ROUNDS + rounds) // 6)
    assert workload.begun == count * epochs


Measure = Callable[..., dict[str, Any]]


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """What is found on a fake GPU of 100 units of memory, of which each member takes 12.

    `stacks`: how much faster members are when they are stacked.
    """
    free = SimpleNamespace(now=100)
    workload = SimpleNamespace(continues=True)

    def free_memory() -> None:
        free.now = 100

    monkeypatch.setattr(measure, "workload_for", lambda job: (workload, False))
    monkeypatch.setattr(measure, "current_device", lambda: torch.device("cuda:0"))
    monkeypatch.setattr(measure, "differ_in_turns", lambda workload, founders, leg: False)
    monkeypatch.setattr(measure, "free_memory", free_memory)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free.now, 100))

    def find(*asked: Any, stacks: float = 1.0, workers: int = 1) -> dict[str, Any]:
        def rate(workload: Any, job: Any, founder: Any, count: int, device: Any, stacked: bool) -> float:
            free.now = 100 - 12 * count
            if count > 8:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return 10.0 * count * (stacks if stacked else 1.0)

        monkeypatch.setattr(measure, "steps_per_second", rate)
        monkeypatch.setattr(measure, "workers_of_device", lambda: workers)
        return members_at_once(job(tmp_path), HYPERPARAMETERS, *asked)

    return find


def test_on_a_gpu_memory_that_is_short_ends_the_search(measured: Measure) -> None:
    told = measured(99)
    assert (told["members"], told["stacked"]) == (4, False)
    assert told["said"] == "4 (measured; steps per second with 1: 10, 2: 20, 4: 40, 8: no memory)"
    assert measured(99, workers=2)["members"] == 2


def test_members_are_stacked_where_that_is_faster_and_the_config_leaves_it_open(measured: Measure) -> None:
    told = measured(99, stacks=1.5)
    assert (told["members"], told["stacked"]) == (4, True)
    assert told["said"].startswith("4, stacked (measured; steps per second with 1: 10, 2 stacked: 30, ")
    assert measured(99, stacks=0.9)["stacked"] is False
    assert measured(99, None, False, stacks=1.5)["stacked"] is False
    assert measured(99, None, True, stacks=0.9)["stacked"] is True
    told = measured(99, 2, None, stacks=1.5)
    assert (told["members"], told["stacked"]) == (2, True)
    assert told["said"] == "2, stacked (measured; steps per second with 2 stacked: 30)"
