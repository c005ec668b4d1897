"""A genome for each network of a member: how it is born, passed on, expressed, journaled and replayed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evodevo.config import RunConfig
from evodevo.evolution.ploidy import combined
from evodevo.evolution.population import Birth
from evodevo.report.schedule import Schedule
from evodevo.report.tables import history_rows
from evodevo.run.history import History
from evodevo.run.life import Life
from evodevo.run.simulation import invented, play
from evodevo.service.replay import compare_replay, replay_config
from tests.configs import complaint
from tests.run.fakes import FakeCaller, carry_out, config_of, finished, new_run, story
from tests.run.moments import moments_of

LOOSE = {"initial": "spread", "sigma": 0.0, "survivors": 0.25}
each_kind = pytest.mark.parametrize("genomes", ["mean", "own"])


def config(genomes: str, **changes: Any) -> RunConfig:
    own = {"search__population": 6, "search__options": LOOSE, "search__ploidy": 3}
    return config_of(**{**own, "search__genomes": genomes, **changes})


def genomes_of(birth: Birth) -> list[Mapping[str, Any]]:
    found = [network.genome for network in birth.networks]
    assert all(genome is not None for genome in found)
    return [genome for genome in found if genome is not None]


def before(history: History, life: Life) -> list[Life]:
    return history.generations[life.generation - 1]


@each_kind
def test_every_member_has_a_genome_for_each_network_and_one_that_these_come_to(genomes: str) -> None:
    made = config(genomes)
    history = play(made, invented, made.strategy)
    for life in history.lives():
        each = genomes_of(life.birth)
        assert len(each) == 3
        assert life.birth.genome == combined(made.space(), each)
        assert all(made.space().contains(genome) for genome in each)
    newest = [genomes_of(life.birth) for life in history.generations[-1]]
    assert all(one != other for one, other, _ in newest)
    given = history.generations[0][0].birth
    assert [*genomes_of(given), given.genome] == [made.space().given()] * 4


def test_a_genome_in_a_place_is_made_of_those_in_its_place() -> None:
    """Without mutation each gene is one that a genome in that place had before, in one of two parents."""
    still = {**LOOSE, "mutation_rate": 0.0, "crossover_rate": 0.5}
    made = config("own", search__options=still, search__generations=6)
    history = play(made, invented, made.strategy)
    mixed = 0
    for life in history.lives():
        for at, genome in enumerate(genomes_of(life.birth) if life.generation else []):
            had = [genomes_of(one.birth)[at] for one in before(history, life)]
            assert all(any(one[name] == value for one in had) for name, value in genome.items())
            mixed += genome not in had
    assert mixed > 10


def test_a_survivor_keeps_its_genomes() -> None:
    made = config("own", search__options={**LOOSE, "survivors": 0.5, "sigma": 5.0})
    history = play(made, invented, made.strategy)
    kept = 0
    for life in (one for lives in history.generations[1:] for one in lives):
        own = before(history, life)[life.slot]
        parents = {network.parent for network in life.birth.networks}
        if life.birth.parent_a == life.birth.parent_b == own.id and parents == {own.id}:
            kept += genomes_of(life.birth) == genomes_of(own.birth)
    assert kept >= 3 * 3


def test_networks_are_trained_with_the_mean_or_each_with_its_own(tmp_path: Path) -> None:
    for genomes in ("mean", "own"):
        caller = FakeCaller()
        made = config(genomes)
        history = finished(tmp_path / genomes, made, caller)
        for one in caller.assignments:
            birth, space = history.by_id[one.member].birth, made.space()
            own = genomes_of(birth) if genomes == "own" else [birth.genome] * 3
            assert [start.hyperparameters for start in one.networks] == list(map(space.express, own))


@each_kind
@pytest.mark.parametrize(
    "search", [{}, {"search__recombine": {"last": 0.5}, "search__initialisation": "shared"}]
)
def test_a_run_killed_at_any_record_has_the_history_of_one_that_was_never_killed(
    genomes: str, search: dict[str, Any], tmp_path: Path
) -> None:
    made = config(genomes, **search, search__population=3, search__generations=3)
    expected = story(finished(tmp_path / "whole", made))
    run = new_run(tmp_path / "undisturbed", made)
    moments = moments_of(run, lambda: carry_out(run, FakeCaller()))
    for number, moment in enumerate(moments[::2]):
        history = carry_out(moment.restore(tmp_path / str(number)), FakeCaller())
        assert (history.end, story(history)) == ("done", expected)


def test_members_that_begin_from_a_mean_keep_the_genomes_of_their_networks(tmp_path: Path) -> None:
    made = config("own", search__recombine={"last": 0.5}, search__initialisation="shared")
    history = finished(tmp_path / "run", made)
    assert history.means
    for life in history.lives():
        if life.birth.parent_params in history.means:
            assert genomes_of(life.birth) == genomes_of(before(history, life)[life.slot].birth)
            assert {network.parent for network in life.birth.networks} == {life.birth.parent_params}


@each_kind
def test_a_replay_trains_each_network_with_what_it_was_trained_with(genomes: str, tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config(genomes))
    assert history.best is not None
    (tmp_path / "schedule.yaml").write_text(Schedule.of(history, history.best).to_yaml())
    schedule = Schedule.load(tmp_path / "schedule.yaml")
    replayed = finished(tmp_path / "replay", replay_config(history.config, schedule, "again"))
    assert compare_replay(schedule, replayed).identical


def test_the_table_has_the_genome_of_each_network(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config("own"))
    for row in history_rows(history):
        assert row["genomes"] == [dict(one) for one in genomes_of(history.by_id[row["member"]].birth)]
    assert "genomes" not in history_rows(finished(tmp_path / "one", config("one")))[0]


@pytest.mark.parametrize("strategy", ["truncation_pbt", "random_search"])
def test_other_strategies_have_genomes_for_each_network_too(strategy: str) -> None:
    made = config("own", search__strategy=strategy, search__options={"initial": "random"})
    history = play(made, invented, made.strategy)
    assert all(len(genomes_of(life.birth)) == 3 for life in history.lives())
    founders = [genomes_of(life.birth) for life in history.generations[0]]
    assert all(one != other != third for one, other, third in founders)


def test_from_scratch_the_mean_is_what_is_trained(tmp_path: Path) -> None:
    made = config("mean", search__inherit="none", search__options={"initial": "random", "mutation_rate": 0.5})
    history = finished(tmp_path / "run", made)
    assert history.end == "done"
    assert all(network.parent is None for life in history.lives() for network in life.birth.networks)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search__ploidy": 1}, "search.genomes: own has no effect"),
        ({"search__pace": "steady"}, "search.genomes: own is not supported with search.pace: steady"),
        (
            {"search__inherit": "none"},
            "search.genomes: own is not supported for members that train from scratch",
        ),
        ({"search__genomes": "two"}, "search.genomes"),
    ],
)
def test_genomes_that_cannot_be_are_refused_in_one_message(changes: dict[str, Any], said: str) -> None:
    message = complaint(lambda: config("own", **{"search__options": {}, **changes}))
    assert said in message
    assert message.count("search.genomes") == 1
