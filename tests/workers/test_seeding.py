"""Seeds for whatever is called of a user's code."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.workers.toys import HYPERPARAMETERS, Toy, assignment, job, points, prepared, run_one, section
from workers import cache
from workers.seeding import Randomness, derived, seed_all
from workers.workload import Leg, Splits, Training


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))


def test_all_three_generators_are_seeded() -> None:
    seed_all(3)
    first = draws()
    draws()
    seed_all(3, torch.device("cpu"))
    assert draws() == first
    seed_all(4)
    assert not set(draws()) & set(first)


def test_seeds_of_other_purposes_and_of_other_runs_are_others() -> None:
    seeds = [derived(seed, *purpose) for seed in (0, 1) for purpose in (("data",), ("digest", "train"), ())]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derived(0, "data") == 171566453, "a run begun with another version continues with its data"


class Drawing(Toy):
    """Draws in all its methods, and keeps what it drew."""

    def __init__(self) -> None:
        super().__init__()
        self.made = draws()

    def data(self, root: str | None) -> Splits:
        self.loaded = draws()
        return Splits(points(40, random.randrange(1000)), points(30, int(np.random.randint(1000))))


def test_init_and_data_draw_the_same_in_every_worker_of_a_run_and_other_than_in_another_run(
    tmp_path: Path,
) -> None:
    use = section("tests.workers.test_seeding:Drawing")
    found = []
    for seed in (3, 3, 4):
        draws()  # what a process has drawn before does not matter
        found.append(cache.loaded(job(tmp_path, use, seed=seed)))
    one, again, other = found
    assert (one.made, one.loaded) == (again.made, again.loaded)
    assert torch.equal(one.splits.train[0], again.splits.train[0])
    assert not set(one.made + one.loaded) & set(other.made + other.loaded)
    assert not set(one.made) & set(one.loaded)
    seed_all(derived(3, "data"))
    assert draws() == one.loaded, "what __init__ drew has no say in what data() draws"


def test_every_member_is_evaluated_with_the_same_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def evaluate(self: Toy, training: object, split: str) -> dict[str, float]:
        seen.append(draws())
        return {"validation_loss": 1.0}

    monkeypatch.setattr(Toy, "evaluate", evaluate)
    for training_seed in (1, 2):
        run_one(job(tmp_path), assignment(hyperparameters=HYPERPARAMETERS, training_seed=training_seed))
    run_one(job(tmp_path, seed=9), assignment(training_seed=1))
    assert seen[0] == seen[1] != seen[2]


def test_founders_that_share_their_initialisation_differ_in_the_order_of_their_examples_only() -> None:
    toy = prepared(Toy())
    own, other = (toy.begin(HYPERPARAMETERS, seed, None) for seed in (1, 2))
    assert not same(own, other)
    alike = Leg(initial_seed=5)
    one, two = (toy.begin(HYPERPARAMETERS, seed, None, alike) for seed in (1, 2))
    assert same(one, two)
    first, second = (next(iter(toy.train_batches(training)))[0] for training in (one, two))
    assert not torch.equal(first, second)
    heir = toy.begin(HYPERPARAMETERS, 3, toy.checkpoint(own), alike)
    assert same(heir, own)


def same(one: Training, other: Training) -> bool:
    """Whether two members have the same parameters."""
    return all(map(torch.equal, one.model.state_dict().values(), other.model.state_dict().values()))


def test_members_that_take_turns_draw_what_each_would_draw_alone() -> None:
    alone = {}
    for seed in (1, 2):
        seed_all(seed)
        alone[seed] = [draws() for _ in range(4)]
    members = {}
    for seed in (1, 2):
        seed_all(seed)
        members[seed] = Randomness(torch.device("cpu"))
    found: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
    for _ in range(4):
        for seed, member in members.items():
            with member.in_force():
                found[seed].append(draws())
    assert found == alone
