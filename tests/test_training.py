"""`train-best`: the fittest genome of a run, trained in a separate run until it stops improving."""

from pathlib import Path
from typing import Any

import pytest

from evodevo.config import parse
from evodevo.config_phases import next_of
from evodevo.display import line
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.history import History
from evodevo.run.records import Assignment, Job, Outcome
from evodevo.run.setup import job_of
from evodevo.run.view import FileSource, View
from evodevo.service.training import training_config
from tests.configs import ABSENT, complaint
from tests.run.fakes import FakeCaller, Fate, carry_out, config_of, finished, history_of, new_run, stop, story
from tests.run.test_controller_resumed import resumed_everywhere

FOMS = [0.5, 0.4, 0.45, 0.3, 0.35, 0.3, 0.2, 0.1]


class Learning(FakeCaller):
    """Each leg has the next of `FOMS`."""

    def _leg(self, job: Job, assignment: Assignment, fate: Fate) -> tuple[Outcome | None, str]:
        outcome, why = super()._leg(job, assignment, fate)
        assert outcome is not None
        fom = FOMS[assignment.leg]
        return Outcome("done", fom, {job.metric: fom}, outcome.checkpoint, outcome.seconds), why


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> History:
    return finished(tmp_path_factory.mktemp("original") / "run")


def legs(history: History) -> list[float | None]:
    (life,) = history.lives()
    return [outcome.fom for outcome in life.outcomes()]


def test_it_trains_the_best_genome_with_its_seed(original: History) -> None:
    config = training_config(original, "small-trained")
    assert original.best is not None
    assert config.search.options["genomes"] == [original.best.birth.genome]
    assert config.search.options["training_seeds"] == [original.best.training_seed]
    for section in ("workload", "data", "cluster"):
        assert getattr(config, section) == getattr(original.config, section)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"search__pace": "steady"},
        {"search__pace": "pools", "search__pool": 2},
        {"search__steps_per_generation": 7},
        {"search__legs": 3, "search__patience": 2, "search__goal": 0.0},
        {"search__recombine": {"last": 0.5}, "search__soup": True, "search__judge": "averaged"},
        {"search__options": {"mutation": "self_adaptive"}},
        {"limits__wall_time_s": 1e6},
    ],
    ids=str,
)
def test_its_config_is_a_valid_one_whatever_run_it_is_of(tmp_path: Path, changes: dict[str, Any]) -> None:
    history = finished(tmp_path / "run", config_of(**changes))
    config = training_config(history, "small-trained", 3, 50)
    assert parse(config.to_json()) == config
    assert (config.search.patience, config.search.legs, config.search.goal) == (3, 50, None)
    assert config.limits.wall_time_s is None


def test_its_first_epoch_is_that_of_the_search(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config_of(search__generations=1))
    assert history.best is not None
    trained = finished(tmp_path / "trained", training_config(history, "small-trained", 1, 2))
    assert legs(trained)[0] == history.best.fom


@pytest.mark.parametrize("patience, epochs", [(1, 3), (2, 6), (3, 8)])
def test_it_ends_after_a_number_of_epochs_without_improvement(
    original: History, tmp_path: Path, patience: int, epochs: int
) -> None:
    config = training_config(original, "small-trained", patience, len(FOMS))
    history = finished(tmp_path / "run", config, Learning())
    assert len(legs(history)) == epochs
    assert legs(history)[-1] == min(FOMS[:epochs])


def test_it_ends_after_the_most_epochs_that_it_may_have(original: History, tmp_path: Path) -> None:
    history = finished(tmp_path / "run", training_config(original, "small-trained", 10, 4), Learning())
    assert legs(history) == FOMS[:4]


def test_the_best_epoch_is_its_result_and_what_is_tested(original: History, tmp_path: Path) -> None:
    caller = Learning()
    history = finished(tmp_path / "run", training_config(original, "small-trained", 2), caller)
    assert history.best is not None
    assert history.best.fom == 0.3
    (life,) = history.lives()
    best = list(life.outcomes())[3].checkpoint
    assert best is not None
    assert history.best.outcome is not None
    assert history.best.outcome.checkpoint == best
    (tested,) = [arguments[1] for name, arguments in caller.calls if name.endswith(":examine")]
    assert tested == best
    store = CheckpointStore(job_of(history.config, tmp_path / "run", history.run_id).checkpoints_url)
    assert set(store.names()) == {best.name}


def test_its_status_says_how_many_epochs_there_were_and_which_was_the_best(
    original: History, tmp_path: Path
) -> None:
    directory = new_run(tmp_path / "run", training_config(original, "small-trained", 10, 8))
    caller = Learning(lambda assignment: "hang" if assignment.leg == 5 else "done")
    stop(directory, caller)
    status = View("run", FileSource(directory)).refresh()
    assert (status.legs_done, status.legs, status.generation) == (5, 8, 0)
    assert (status.best_fom, status.best_member) == (0.3, "leg 4")
    assert "leg 5 of at most 8, best validation_loss 0.3 (leg 4)" in line(status)


def test_one_that_is_killed_anywhere_is_resumed_to_the_same_end(original: History, tmp_path: Path) -> None:
    config = training_config(original, "small-trained", 2)
    expected = finished(tmp_path / "undisturbed run", config, Learning())
    for run, _, _ in resumed_everywhere(tmp_path, config, Learning):
        history = carry_out(run, Learning())
        assert (story(history), legs(history)) == (story(expected), legs(expected))


TARGET: dict[str, Any] = {"every_steps": 10, "cost": "steps", "limit": 100}


def of_target(directory: Path, **target: Any) -> History:
    """A finished run whose objective is the cost to reach a target."""
    config = config_of(
        search__strategy="mutate_best",
        search__population=ABSENT,
        search__options={},
        objective={"target": {**TARGET, **target}},
    )
    return finished(directory, config)


@pytest.mark.parametrize("bound, mode", [("at_least", "max"), ("at_most", "min")])
def test_after_a_search_for_a_target_it_goes_by_the_metric_of_the_target(
    tmp_path: Path, bound: str, mode: str
) -> None:
    history = of_target(tmp_path / "run", metric="validation_accuracy", **{bound: 0.5})
    config = training_config(history, "small-trained")
    assert parse(config.to_json()) == config
    objective = config.objective
    assert (objective.metric, objective.mode, objective.target) == ("validation_accuracy", mode, None)


def test_a_target_of_several_metrics_is_refused(tmp_path: Path) -> None:
    goals = [{"metric": f"validation_{name}", "at_least": 0.5} for name in ("f1", "accuracy")]
    history = of_target(tmp_path / "run", all=goals)
    assert "an objective.target of 2 metrics" in complaint(lambda: training_config(history, "x"))


def test_a_run_that_has_nobody_yet_is_refused(tmp_path: Path) -> None:
    directory = new_run(tmp_path / "run")
    assert complaint(lambda: training_config(history_of(directory), "x")) == (
        "run 'small' has no best member yet; resume it with `evodevo resume`"
    )


def test_no_phase_follows_the_training_of_the_best_of_one(tmp_path: Path) -> None:
    phases = [{"name": "one", "search": {"inherit": "none"}}, {"name": "two"}]
    history = finished(tmp_path / "small-one", config_of(phases=phases))
    assert next_of(history.config) is not None
    config = training_config(history, "small-one-trained")
    assert next_of(config) is None
    assert parse(config.to_json()) == config
