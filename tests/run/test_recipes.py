"""What must be trained again and in which order, given a history and the remaining checkpoints."""

from pathlib import Path
from typing import Any

import pytest

from evodevo.run.history import History
from evodevo.run.life import Life
from evodevo.run.recipes import CannotRemakeError, Recipes, plan
from evodevo.run.records import CheckpointRef
from tests.golden import raises_golden
from tests.run.fakes import config_of, finished


def ref_of(life: Life, leg: int | None = None) -> CheckpointRef:
    outcome = life.outcome if leg is None else life.legs[leg].outcome
    assert outcome is not None
    assert outcome.checkpoint is not None
    return outcome.checkpoint


def planned(history: History, *targets: CheckpointRef, whole: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    """The names of what is to be made, where all is damaged but `whole`; by asking again and again."""
    known: dict[str, bool] = {}
    while True:
        steps, unknown = plan(Recipes(history), targets, known)
        if not unknown:
            return [step.ref.name for step in steps]
        assert not known.keys() & {ref.name for ref in unknown}, "nothing is asked twice"
        known.update({ref.name: ref.name in whole for ref in unknown})


@pytest.fixture
def run(tmp_path: Path) -> History:
    return finished(tmp_path / "run")


def test_what_is_whole_is_not_made_and_nothing_above_it_is_looked_at(run: History) -> None:
    ref = ref_of(run.generations[3][0])
    assert plan(Recipes(run), [ref], {ref.name: True}) == ([], [])


def test_a_line_is_made_from_its_founder_on_each_after_its_parent(run: History) -> None:
    last = run.generations[3][1]
    line = [ref_of(life).name for life in run.line(last)]
    assert planned(run, ref_of(last)) == line
    assert planned(run, ref_of(last), whole={line[1]}) == line[2:]


def test_what_several_are_made_from_is_made_once(run: History) -> None:
    refs = [ref_of(life) for life in run.generations[3]]
    steps = planned(run, *refs)
    assert len(steps) == len(set(steps))
    assert set(steps) == {ref_of(one).name for life in run.generations[3] for one in run.line(life)}
    for life in run.generations[3]:
        at = [steps.index(ref_of(one).name) for one in run.line(life)]
        assert at == sorted(at)


def test_what_is_being_made_already_is_left_out(run: History) -> None:
    last = run.generations[3][1]
    *_, parent, own = run.line(last)
    steps, unknown = plan(Recipes(run), [ref_of(own)], {ref_of(own).name: False}, {ref_of(parent).name})
    assert ([step.ref for step in steps], unknown) == ([ref_of(own)], [])


def test_a_leg_is_made_from_the_one_before_it(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config_of(search__legs=3, search__generations=1))
    life = history.generations[0][0]
    names = [ref_of(life, 0).name, ref_of(life, 1).name, ref_of(life).name]
    assert planned(history, ref_of(life)) == names
    recipe = Recipes(history).of(names[2])
    assert recipe is not None
    assert (recipe.leg, recipe.epochs, [ref.name for ref in recipe.inputs]) == (2, 1, [names[1]])


def test_a_mean_is_made_from_all_its_members_and_costs_no_epoch(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config_of(search__recombine={"last": 0.5}))
    last = history.generations[3][0]
    mean = history.by_id[last.birth.parent_params or ""]
    steps = planned(history, ref_of(last))
    assert steps[-2:] == [ref_of(mean).name, ref_of(last).name]
    recipes = Recipes(history)
    of_mean = recipes.of(ref_of(mean).name)
    assert of_mean is not None
    assert (of_mean.epochs, of_mean.inputs) == (0, tuple(mean.checkpoints))  # type: ignore[attr-defined]
    assert all(steps.index(ref.name) < steps.index(ref_of(mean).name) for ref in of_mean.inputs)


def test_a_long_line_needs_no_deep_stack(tmp_path: Path) -> None:
    search: dict[str, Any] = {"search__population": 1, "search__generations": 1200}
    search |= {"search__strategy": "replay", "search__pace": "generations"}
    space = config_of().space().given()
    options = {"genomes": [space] * 1200, "training_seeds": [1] * 1200}
    history = finished(tmp_path / "run", config_of(**search, search__options=options))
    assert len(planned(history, ref_of(history.generations[-1][0]))) == 1200


def test_a_checkpoint_that_no_member_left_cannot_be_made(run: History) -> None:
    foreign = CheckpointRef("start-a0-000000000000.safetensors", 1, "0")
    with raises_golden("recipes/no-member-left-it", CannotRemakeError) as refused:
        planned(run, foreign)
    assert refused.value.name == foreign.name
