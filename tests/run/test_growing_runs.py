"""Runs in which genomes grow: inherited parameters, trained members, and checkpoints that are kept."""

import random
from pathlib import Path
from typing import Any

import pytest

from evodevo.report.schedule import Schedule
from evodevo.report.tables import history_rows
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.extension import extension_of
from evodevo.run.retention import needed_checkpoints
from evodevo.run.stopping import member_epochs
from evodevo.service.replay import compare_replay, replay_config
from evodevo.service.training import training_config
from tests.configs import complaint
from tests.run.fakes import WORKERS, FakeCaller, carry_out, finished, history_of, new_run, stop, story
from tests.run.growing import growing
from tests.run.test_controller_resumed import resumed_everywhere

SURVIVE: dict[str, Any] = {"search__options": {"survivors": 0.6, "lucky": 0.5, "mutation_rate": 0.5}}


def test_a_phase_begins_from_the_best_of_the_one_before_with_new_tails(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", growing())
    assert (history.end, len(history.generations)) == ("done", 6)
    space = history.config.space()
    for phase in (1, 2):
        before = history.generations[2 * phase - 1]
        best = min(before, key=lambda life: (life.fom, life.slot))
        head = {name: best.birth.genome[name] for name in space.express(best.birth.genome)} | {
            "blocks": phase + 1
        }
        for life in history.generations[2 * phase]:
            assert life.birth.parent_params == best.id
            expressed = space.express(life.birth.genome)
            assert {name: expressed[name] for name in head} == head
            assert all(name.startswith(f"block{phase + 1}.") for name in expressed.keys() - head.keys())
        tails = {repr(space.express(life.birth.genome)) for life in history.generations[2 * phase]}
        assert len(tails) > 1


def test_all_of_a_phase_go_on_from_the_same_parameters(tmp_path: Path) -> None:
    caller = FakeCaller()
    config = growing(search__phases={"lengths": [1, 3], "generations": 3})
    history = finished(tmp_path / "run", config, caller)
    assert not [one for one in caller.assignments if one.remakes], "those were kept for all of the phase"
    for phase, expected in ((0, {None}), (1, {life.birth.parent_params for life in history.generations[3]})):
        lives = [life for lives in history.generations[3 * phase : 3 * phase + 3] for life in lives]
        assert {life.birth.parent_params for life in lives} == expected
        assert len(expected) == 1
        assert {life.epoch for life in lives} == {3 * phase}


def test_a_survivor_is_not_trained_again_and_keeps_its_fom(tmp_path: Path) -> None:
    caller = FakeCaller()
    history = finished(tmp_path / "run", growing(**SURVIVE), caller)
    space = history.config.space()
    shared = [life for life in history.lives() if life.same_as]
    assert len(shared) >= 6
    assert {one.member for one in caller.assignments} == {
        life.id for life in history.lives() if not life.same_as
    }
    for life in shared:
        first = history.by_id[life.same_as or ""]
        assert space.express(first.birth.genome) == space.express(life.birth.genome)
        assert (life.fom, life.training_seed) == (first.fom, first.training_seed)
    best_of_each = [min(life.fom for life in lives if life.fom is not None) for lives in history.generations]
    for phase in range(3):  # the best survives as it is
        assert best_of_each[2 * phase + 1] <= best_of_each[2 * phase]
    assert member_epochs(history) == 3 * len(caller.assignments)


@pytest.mark.parametrize("lucky", [0.0, 1.0])
def test_a_network_of_which_nobody_has_survived_is_trained_when_it_comes_again(
    tmp_path: Path, lucky: float
) -> None:
    """Checkpoints of members that are older than a generation are gone; what was kept is not made again."""
    options = {"survivors": 0.2, "lucky": lucky, "mutation_rate": 1.0}
    few = {"most": 2, "loci": {"deep": {"type": "bool"}, "wide": {"type": "bool"}}}
    config = growing(
        search__options=options,
        search__blocks=few,
        search__loci={"rate": {"type": "fixed", "value": 0.1}},
        search__phases={"lengths": [1, 2], "generations": 8},
        search__population=3,
    )
    caller = FakeCaller()
    history = finished(tmp_path / "run", config, caller)
    assert history.end == "done"
    space = history.config.space()
    trained = [one for one in caller.assignments if not one.remakes]
    assert len(trained) == len(caller.assignments)
    last: dict[str, int] = {}
    for life in history.lives():
        key = repr(space.express(life.birth.genome))
        is_known = last.get(key, -9) >= life.generation - 1
        assert (life.same_as is not None) == is_known
        last[key] = life.generation


@pytest.mark.parametrize("changes", [{}, SURVIVE, {"limits__member_epochs": 40}], ids=["", "survive", "40"])
def test_the_history_is_the_same_whatever_the_workers_do(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = growing(**changes)
    expected = story(finished(tmp_path / "run", config))
    for number in range(4):
        caller = FakeCaller(workers=WORKERS[: 1 + number % 3], shuffle=random.Random(number))
        assert story(finished(tmp_path / str(number), config, caller)) == expected


def test_a_run_killed_at_any_record_has_the_same_history_and_keeps_what_it_needs(tmp_path: Path) -> None:
    config = growing(**SURVIVE, search__phases={"lengths": [1, 3], "generations": 3}, search__population=4)
    expected = story(finished(tmp_path / "never killed", config))
    kills = 0
    for kills, (run, _, caller) in enumerate(resumed_everywhere(tmp_path, config, FakeCaller), 1):  # noqa: B007
        history = history_of(run)
        assert (history.end, story(history)) == ("done", expected)
        assert not [one for one in caller.assignments if one.remakes], "a checkpoint was deleted too early"
        assert set(CheckpointStore(str(run / "params")).names()) >= needed_checkpoints(history)
    assert kills > 50


def test_children_of_a_twin_start_from_the_replaced_checkpoint_of_the_member_that_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path / "run", growing(**SURVIVE, checkpoints__on_mismatch="accept"))
    trained: list[Any] = []
    stop(run, FakeCaller(lambda one: "hang" if len(trained) == 9 else "done", watch=trained.append))
    twins = [life for life in history_of(run).lives() if life.same_as]
    assert twins
    for path in (run / "params").iterdir():
        path.unlink()
    monkeypatch.setattr("tests.run.fakes.quality_of", lambda inherited, hp, seed: 0.6 * inherited + 0.4)
    history = carry_out(run, FakeCaller())
    assert (history.end, history.reason) == ("done", None)


def test_no_more_checkpoints_are_kept_than_of_two_generations_and_the_parent_of_the_phase(
    tmp_path: Path,
) -> None:
    counts = []
    run = tmp_path / "run"

    def watch(assignment: Any) -> None:
        counts.append(len(CheckpointStore(str(run / "params")).names()))

    config = growing(search__phases={"lengths": [1, 2, 3], "generations": 6})
    history = finished(run, config, FakeCaller(watch=watch))
    assert history.end == "done"
    assert max(counts) <= 2 * 5 + 2


def test_a_replay_of_the_best_ends_in_its_parameters(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", growing(**SURVIVE))
    last = min(history.generations[-1], key=lambda life: (life.fom, life.slot))
    schedule = Schedule.of(history, last)
    assert [len(entry.hyperparameters) for entry in schedule.entries] == sorted(
        len(entry.hyperparameters) for entry in schedule.entries
    )
    assert len(schedule.entries) == 3
    replayed = finished(tmp_path / "replay", replay_config(history.config, schedule, "replay"))
    assert compare_replay(schedule, replayed).identical


def test_the_best_is_trained_to_its_end_as_a_whole(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", growing())
    config = training_config(history, "trained")
    assert (config.search.phases, config.inherits) == (None, False)
    caller = FakeCaller()
    trained = finished(tmp_path / "trained", config, caller)
    assert trained.end == "done"
    assert caller.assignments[0].parent is None
    assert history.best is not None
    expressed = history.config.space().express(history.best.birth.genome)
    assert caller.assignments[0].hyperparameters == expressed


def test_a_table_has_nothing_in_the_columns_of_blocks_that_a_genome_has_not(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", growing())
    rows = history_rows(history)
    assert [row["hp.blocks"] for row in rows] == [1] * 10 + [2] * 10 + [3] * 10
    for row in rows:
        widths = [row[f"hp.block{number}.width"] for number in (1, 2, 3)]
        assert [width is not None for width in widths] == [number <= row["hp.blocks"] for number in (1, 2, 3)]


def test_a_run_ends_with_the_phase_that_brings_less_than_the_gain_asked_for(tmp_path: Path) -> None:
    phases = {"lengths": [1, 2, 3], "generations": 2, "gain": 1e9}
    history = finished(tmp_path / "run", growing(search__phases=phases))
    assert (history.end, len(history.generations)) == ("done", 4)
    assert history.reason is not None
    assert history.reason.startswith("phase 1 brought ")
    assert history.reason.endswith("less than search.phases.gain = 1e+09")
    assert "cannot be extended: phase 1 brought" in complaint(
        lambda: extension_of(tmp_path / "run", history_of(tmp_path / "run"), 6)
    )
    enough = {**phases, "gain": 0.0}
    foms = [min(life.fom or 9.9 for life in lives) for lives in history.generations]
    improved = min(foms[2:4]) < min(foms[:2])
    again = finished(tmp_path / "again", growing(search__phases=enough))
    assert (len(again.generations) > 4) == improved


def test_a_run_ends_with_the_generation_in_which_its_epochs_are_used_up(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", growing(limits__member_epochs=16))
    assert history.end == "done"
    spent = [
        3 * sum(not life.same_as for lives in history.generations[:at] for life in lives)
        for at in range(1, len(history.generations) + 1)
    ]
    assert spent[-1] >= 16 > max([0, *spent[:-1]])
    assert history.reason == f"limits.member_epochs = 16 are used up: {spent[-1]}"
    config = growing(limits__member_epochs=16)
    assert "has used up limits.member_epochs = 16" in complaint(
        lambda: extension_of(tmp_path / "run", history_of(tmp_path / "run"), config.search.generations)
    )


def test_members_that_inherit_nothing_can_have_genomes_that_grow(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", growing(search__inherit="none"))
    assert history.end == "done"
    assert {life.birth.parent_params for life in history.lives()} == {None}
    assert [life.birth.genome["blocks"] for life in history.lives()] == [1] * 10 + [2] * 10 + [3] * 10


def test_a_member_that_failed_neither_survives_nor_gives_parameters(tmp_path: Path) -> None:
    failing = {"g000s001", "g001s000", "g002s003", "g003s004"}
    caller = FakeCaller(lambda one: "failed" if one.member in failing else "done")
    config = growing(search__population=6, limits__confirm_failures=False)
    history = finished(tmp_path / "run", config, caller)
    assert history.end == "done"
    gone = {life.id for life in history.lives() if life.status == "failed"}
    assert gone
    parents = {life.birth.parent_a for life in history.lives()} | {
        life.birth.parent_params for life in history.lives()
    }
    assert not gone & parents
