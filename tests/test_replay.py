"""A schedule trained once more in a separate run, and compared with the original."""

import csv
import dataclasses
import json
import math
from pathlib import Path

import pytest

from evodevo.config import RunConfig, parse
from evodevo.evolution.rng import training_seed
from evodevo.report.live import picture_of
from evodevo.report.plots import schedule_plot
from evodevo.report.schedule import Entry, Schedule
from evodevo.report.tables import history_csv
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.history import History
from evodevo.run.retention import needed_checkpoints
from evodevo.run.setup import job_of
from evodevo.service.replay import Comparison, compare_replay, replay_config
from tests.run.fakes import STRATEGIES, FakeCaller, config_of, finished
from tests.run.handmade import Pen

REPEATED = "1 of 2 lives started from a mean of members, which a single line cannot repeat"
BOLD = {"tri_parent": {"mutation_rate": 0.5}, "truncation_pbt": {}, "random_search": {}}


def original(directory: Path, strategy: str = "tri_parent", **changes: object) -> tuple[History, Schedule]:
    """A finished run, and the schedule of its best member."""
    options = {"search__strategy": strategy, "search__options": BOLD[strategy]}
    history = finished(directory, config_of(**options, **changes))
    assert history.best is not None
    return history, Schedule.of(history, history.best)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, Schedule]:
    history, schedule = original(tmp_path_factory.mktemp("original") / "run")
    assert schedule.epochs == 4
    return history.config, schedule


def test_a_replay_is_one_member_for_as_many_generations_as_the_schedule_has_epochs(
    run: tuple[RunConfig, Schedule],
) -> None:
    config, schedule = run
    replay = replay_config(config, schedule, "small-replay")
    assert (replay.run.name, replay.search.strategy) == ("small-replay", "replay")
    assert (replay.search.population, replay.search.generations) == (1, 4)
    assert replay.search.options["genomes"] == [entry.genome for entry in schedule.entries]
    assert replay.search.options["training_seeds"] == [entry.training_seed for entry in schedule.entries]


def test_a_replay_trains_what_the_original_trained(run: tuple[RunConfig, Schedule]) -> None:
    config, schedule = run
    replay = replay_config(config, schedule, "small-replay")
    for section in ("workload", "objective", "data", "limits", "cluster"):
        assert getattr(replay, section) == getattr(config, section)
    assert replay.search.loci == config.search.loci


def test_the_config_of_a_replay_is_a_valid_config(run: tuple[RunConfig, Schedule]) -> None:
    replay = replay_config(*run, "small-replay", seed=3)
    assert parse(replay.to_json()) == replay


def test_the_config_of_a_replay_in_steps_is_a_valid_config(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config_of(search__steps_per_generation=7))
    assert history.best is not None
    replay = replay_config(history.config, Schedule.of(history, history.best), "again")
    assert parse(replay.to_json()).search.steps_per_generation == 7


def test_the_original_config_is_left_as_it_was(run: tuple[RunConfig, Schedule]) -> None:
    config, schedule = run
    before = config.to_json()
    replay_config(config, schedule, "small-replay").search.options["genomes"][0]["rate"] = 1.0
    assert config.to_json() == before
    assert schedule.entries[0].genome["rate"] != 1.0


def test_another_seed_gives_every_epoch_another_seed(run: tuple[RunConfig, Schedule]) -> None:
    config, schedule = run
    one, other = (replay_config(config, schedule, "x", seed).search.options for seed in (5, 6))
    assert one["genomes"] == other["genomes"] == [entry.genome for entry in schedule.entries]
    assert one["training_seeds"] == [training_seed(5, epoch, 0) for epoch in range(4)]
    seeds = [*one["training_seeds"], *other["training_seeds"], *(e.training_seed for e in schedule.entries)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_replay_ends_in_the_originals_parameters(strategy: str, mode: str, tmp_path: Path) -> None:
    history, schedule = original(tmp_path / "run", strategy, objective__mode=mode)
    caller = FakeCaller()
    replayed = finished(tmp_path / "replay", replay_config(history.config, schedule, "replay"), caller)
    assert replayed.end == "done"
    assert [a.hyperparameters for a in caller.assignments] == [
        schedule.at(epoch) for epoch in range(schedule.epochs)
    ]
    assert [a.epoch for a in caller.assignments] == list(range(schedule.epochs))
    result = compare_replay(schedule, replayed)
    assert result == Comparison(schedule.fom, schedule.fom, identical=True)
    assert result.gap == 0


@pytest.mark.parametrize(
    ("mean_of", "seed", "why"),
    [
        (1, None, "not the same as the original's"),
        (1, 5, "differ from the original's: it had other seeds than --seed 5"),
        (3, None, f"differ from the original's: {REPEATED}"),
        (3, 5, f"differ from the original's: it had other seeds than --seed 5, and {REPEATED}"),
    ],
)
def test_a_replay_that_ends_in_other_parameters_says_why(mean_of: int, seed: int | None, why: str) -> None:
    entry = Entry("g000s000", 1, 0.5, {"rate": 0.1}, {"rate": 0.1})
    entries = (entry, dataclasses.replace(entry, member="g001s000", mean_of=mean_of))
    schedule = Schedule("run", "g001s000", "validation_loss", 0.5, None, entries)
    text = Comparison(0.5, 0.75, identical=False).text(schedule, seed)
    assert text == (
        "lineage: 2 lives from the founder g000s000 to g001s000\n"
        "validation_loss: original 0.5, replayed 0.75, gap +0.25\n"
        f"parameters: {why}"
    )


def test_choices_that_are_lists_go_through_journal_schedule_and_replay(tmp_path: Path) -> None:
    choices = [[64, 64], [128], [], [[1, 2.0], True]]
    loci = {
        "rate": {"type": "float", "low": 1e-3, "high": 1.0, "scale": "log", "initial": 0.1},
        "layers": {"type": "choice", "choices": choices, "initial": [64, 64]},
        "last": {"type": "int", "low": 1, "high": 9, "initial": 3, "when": {"layers": [[128], []]}},
    }
    history, schedule = original(tmp_path / "run", search__loci=loci, search__population=16)
    found = {repr(life.birth.genome["layers"]) for life in history.lives()}
    assert found == {repr(choice) for choice in choices}
    for life in history.lives():
        expressed = history.config.space().express(life.birth.genome)
        assert ("last" in expressed) == (expressed["layers"] in ([128], []))
    rows = csv.DictReader(history_csv(history).splitlines())
    assert [json.loads(row["hp.layers"]) for row in rows] == [
        life.birth.genome["layers"] for life in history.lives()
    ]
    (tmp_path / "schedule.yaml").write_text(schedule.to_yaml())
    again = Schedule.load(tmp_path / "schedule.yaml")
    assert again == schedule
    replayed = finished(tmp_path / "replay", replay_config(history.config, again, "small-replay"))
    assert compare_replay(schedule, replayed).identical
    assert picture_of(history).drawing.panels[1].labels == ("[64, 64]", "[128]", "[]", "[[1, 2.0], true]")
    assert schedule_plot(history).startswith(b"\x89PNG")


def test_a_replay_with_another_seed_ends_elsewhere(run: tuple[RunConfig, Schedule], tmp_path: Path) -> None:
    config, schedule = run
    replayed = finished(tmp_path / "replay", replay_config(config, schedule, "replay", seed=99))
    result = compare_replay(schedule, replayed)
    assert not result.identical
    assert result.original_fom == schedule.fom
    assert result.replayed_fom == replayed.generations[-1][0].fom
    assert result.gap == replayed.generations[-1][0].fom - schedule.fom != 0


def test_a_schedule_that_was_read_from_its_file_replays_the_same(
    run: tuple[RunConfig, Schedule], tmp_path: Path
) -> None:
    config, schedule = run
    (tmp_path / "schedule.yaml").write_text(schedule.to_yaml())
    read = Schedule.load(tmp_path / "schedule.yaml")
    assert replay_config(config, read, "replay") == replay_config(config, schedule, "replay")


def test_the_last_member_is_compared_and_not_the_best(run: tuple[RunConfig, Schedule]) -> None:
    _, schedule = run
    pen = Pen()
    pen.generation(None, foms=(-5.0,))
    pen.generation("g000s000", foms=(7.0,))
    assert compare_replay(schedule, pen.history).replayed_fom == 7.0


@pytest.mark.parametrize("fate", ["failed", "diverged", "done"])
def test_a_replay_that_ended_in_no_checkpoint_is_not_identical(fate: str) -> None:
    pen = Pen()
    pen.founders(1)
    pen.done(g000s000=1.0) if fate == "done" else getattr(pen, fate)("g000s000")
    result = compare_replay(Schedule("small", "g000s000", "loss", 1.0, None, []), pen.history)
    assert not result.identical
    assert math.isnan(result.gap) == (fate != "done")


def test_a_replay_leaves_the_originals_checkpoints_alone(tmp_path: Path) -> None:
    url = str(tmp_path / "everybody's")
    history, schedule = original(tmp_path / "run", checkpoints__url=url)
    finished(tmp_path / "replay", replay_config(history.config, schedule, "replay"))
    store = CheckpointStore(job_of(history.config, tmp_path / "run", history.run_id).checkpoints_url)
    assert needed_checkpoints(history) == set(store.names())


def test_a_replay_of_a_run_that_took_outcomes_of_another_trains_itself(tmp_path: Path) -> None:
    scratch = {"search__inherit": "none", "search__legs": 2, "search__stop_early": "median"}
    finished(tmp_path / "first", config_of(**scratch))
    history = finished(tmp_path / "second", config_of(**scratch, search__reuse="first", search__goal=0.0))
    assert history.best is not None
    schedule, caller = Schedule.of(history, history.best), FakeCaller()
    replayed = finished(tmp_path / "replay", replay_config(history.config, schedule, "replay"), caller)
    assert len(caller.assignments) == 2
    assert compare_replay(schedule, replayed).identical
