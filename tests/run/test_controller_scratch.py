"""Runs in which each member trains from scratch, in every pace."""

import random
from pathlib import Path

import pytest

from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.retention import needed_checkpoints
from evodevo.run.twins import key_of
from tests.run.fakes import FakeCaller, carry_out, config_of, finished, history_of, new_run, stop, story

PACES = ["generations", "pools"]
FROM_SCRATCH = {"search__inherit": "none", "search__legs": 2}


@pytest.mark.parametrize("strategy", ["tri_parent", "vose2019", "truncation_pbt", "random_search"])
def test_nobody_has_parameters_of_a_parent(strategy: str, tmp_path: Path) -> None:
    caller = FakeCaller()
    history = finished(tmp_path / "run", config_of(search__strategy=strategy, **FROM_SCRATCH), caller)
    assert not history.inherits
    assert all(life.birth.parent_params is None for life in history.lives())
    assert all((one.parent is None) == (one.leg == 0) for one in caller.assignments)
    assert all((one.epoch, one.epochs) == (one.leg, 1) for one in caller.assignments)
    space = history.config.space()
    seeds = {key_of(space, life.birth.genome): life.training_seed for life in history.lives()}
    assert len(set(seeds.values())) == len(seeds)
    assert all(seeds[key_of(space, life.birth.genome)] == life.training_seed for life in history.lives())


@pytest.mark.parametrize("pace", PACES)
def test_the_history_is_the_same_in_whatever_order_workers_answer(pace: str, tmp_path: Path) -> None:
    config = config_of(search__pace=pace, **FROM_SCRATCH)
    expected = story(finished(tmp_path / "in order", config))
    for seed in range(5):
        caller = FakeCaller(shuffle=random.Random(seed), workers=("tcp://a", "tcp://b")[: 1 + seed % 2])
        assert sorted(story(finished(tmp_path / f"{seed}", config, caller))) == sorted(expected)


@pytest.mark.parametrize("pace", [*PACES, "steady"])
def test_only_the_best_checkpoint_is_kept(pace: str, tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config_of(search__pace=pace, **FROM_SCRATCH))
    assert history.best is not None
    assert history.best.outcome is not None
    assert history.best.outcome.checkpoint is not None
    names = CheckpointStore(str(tmp_path / "run" / "params")).names()
    assert set(names) == {history.best.outcome.checkpoint.name} == needed_checkpoints(history)


def test_children_descend_from_what_was_good(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config_of(**FROM_SCRATCH))
    for life in history.generations[1]:
        assert life.birth.parent_a in {parent.id for parent in history.generations[0]}


def test_random_search_draws_every_member_anew(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config_of(search__strategy="random_search", **FROM_SCRATCH))
    genomes = [str(dict(life.birth.genome)) for life in history.lives()]
    assert len(set(genomes)) == len(genomes)


@pytest.mark.parametrize("pace", [*PACES, "steady"])
def test_a_run_that_is_stopped_in_the_second_leg_resumes_with_it(pace: str, tmp_path: Path) -> None:
    config = config_of(search__pace=pace, **FROM_SCRATCH)
    expected = story(finished(tmp_path / "quiet", config))
    run = new_run(tmp_path / "run", config)
    stop(run, FakeCaller(lambda a: "hang" if a.leg == 1 and a.member.startswith("g001") else "done"))
    begun = [life.id for life in history_of(run).pending.values() if life.legs]
    caller = FakeCaller()
    history = carry_out(run, caller)
    assert begun
    assert not {(member, 0) for member in begun} & {(one.member, one.leg) for one in caller.assignments}
    if pace != "steady":
        assert sorted(story(history)) == sorted(expected)
