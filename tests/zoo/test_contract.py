"""Every workload of the zoo works, bit for bit, or is refused before a run begins. None fails later."""

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evodevo.errors import UsageError
from evodevo.run.records import Outcome
from tests.workers.toys import assignment, run_one, run_unit
from tests.zoo import contract
from workers import cache, state
from workers.describe import describe
from workers.training import Leg

WORKS = contract.names("works")
GENERATIONS = 3
POPULATION = 4
each_that_works = pytest.mark.parametrize("name", WORKS)


@pytest.fixture(autouse=True)
def torch_says_nothing() -> Iterator[None]:
    """Of schedulers that make their first step before the optimizer, and of what is beta or deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@each_that_works
def test_legs_of_several_workers_equal_training_in_one_go_bit_for_bit(tmp_path: Path, name: str) -> None:
    founders = contract.founders_of("works", name)
    job = contract.job_of(tmp_path, "works", name)
    about = describe(job, founders, twice=True)
    assert about["warnings"] == []
    job = contract.job_of(tmp_path, "works", name, data=about["data"])
    for hyperparameters in founders[:2]:
        in_one_go, metrics = contract.in_one_go(job, hyperparameters)
        by_legs, reported = contract.by_legs(job, hyperparameters)
        assert by_legs == in_one_go
        assert {key: reported[key] for key in metrics} == metrics
        assert len(set(by_legs)) == len(by_legs)
        assert state.model_state(by_legs[-1])


@pytest.mark.parametrize("length", [{"longest_leg": 2}, {"steps": 4}, {"steps": 8}], ids=str)
@pytest.mark.parametrize(
    "name",
    [
        "accumulation",
        "averaged",
        "loader_set_epoch",
        "prodigy",
        "scaler_float16",
        "schedule_free",
        "scheduler_plateau",
        "scheduler_restarts",
        "two_optimizers",
    ],
)
def test_legs_of_several_epochs_or_of_some_steps_equal_training_in_one_go(
    tmp_path: Path, name: str, length: dict[str, int]
) -> None:
    founders = contract.founders_of("works", name)
    job = contract.job_of(tmp_path, "works", name, **length)
    if length == {"steps": 4} and name in ("scheduler_plateau", "two_optimizers"):  # an epoch has six
        with pytest.raises(UsageError, match=r"no epoch is completed.*set scheduler_per to 'step'"):
            describe(job, founders)
        return
    describe(job, founders)
    in_one_go, metrics = contract.in_one_go(job, founders[0])
    by_legs, reported = contract.by_legs(job, founders[0])
    assert by_legs == in_one_go
    assert {key: reported[key] for key in metrics} == metrics


@each_that_works
def test_an_attempt_after_one_that_was_given_up_has_the_same_bytes(tmp_path: Path, name: str) -> None:
    hyperparameters = contract.founders_of("works", name)[0]
    job = contract.job_of(tmp_path, "works", name)
    first = run_one(job, assignment(hyperparameters=hyperparameters))
    workload: Any = cache.workload_for(job)[0]
    for seed in (7, 99):  # what ends in the middle of an epoch
        parent = contract.bytes_of(job, first.checkpoint)
        training = workload.begin(hyperparameters, seed, parent, Leg(before=1, total=job.total_epochs))
        steps = workload.train(training)
        next(steps)
        del steps, training
    again = run_one(job, assignment(hyperparameters=hyperparameters, attempt=2))
    assert contract.bytes_of(job, again.checkpoint) == contract.bytes_of(job, first.checkpoint)
    assert again.metrics == first.metrics


@each_that_works
def test_another_process_comes_to_the_same_bytes(
    tmp_path: Path, name: str, zoo_elsewhere: dict[str, list[str]]
) -> None:
    job = contract.job_of(tmp_path, "works", name)
    checkpoints, _ = contract.by_legs(job, contract.founders_of("works", name)[0])
    assert contract.digests_of(checkpoints) == zoo_elsewhere[name]


@each_that_works
def test_members_that_inherit_from_others_with_other_hyperparameters_are_done(
    tmp_path: Path, name: str
) -> None:
    founders = contract.founders_of("works", name)
    job = contract.job_of(tmp_path, "works", name)
    parents: list[Any] = [None] * POPULATION
    for generation in range(GENERATIONS):
        unit = [
            assignment(
                parents[(slot + generation) % POPULATION],
                member=f"g{generation}s{slot}",
                hyperparameters=founders[slot % len(founders)],
                training_seed=100 * generation + slot,
                epoch=generation,
            )
            for slot in range(POPULATION)
        ]
        reports = run_unit(job, unit)
        outcomes = [Outcome.from_json(reports[slot]["outcome"]) for slot in range(POPULATION)]
        for outcome in outcomes:
            assert outcome.status == "done", outcome.error
            assert outcome.fom is not None and math.isfinite(outcome.fom)
        parents = [outcome.checkpoint for outcome in outcomes]


@pytest.mark.parametrize("name", contract.names("refused"))
def test_what_cannot_work_is_refused_in_one_message_that_names_it_and_says_what_to_do(
    tmp_path: Path, name: str
) -> None:
    job = contract.job_of(tmp_path, "refused", name)
    with pytest.raises(UsageError) as caught:
        describe(job, contract.founders_of("refused", name), twice=True)
    message = str(caught.value)
    assert "\n" not in message
    for part in contract.module_of("refused", name).MESSAGE:
        assert part in message
