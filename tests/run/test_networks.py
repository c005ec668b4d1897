"""Members with several networks: whose each one is, in births, journals, assignments, retries and repairs."""

import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evodevo.config import RunConfig
from evodevo.errors import RunFailed
from evodevo.evolution.population import Birth, Network, Population
from evodevo.evolution.rng import leg_seed, network_seed
from evodevo.evolution.strategies import TriParent
from evodevo.report.comparison import results_of
from evodevo.report.comparison_page import tables
from evodevo.report.schedule import Schedule
from evodevo.report.summary import summary_lines, summary_of
from evodevo.report.tables import history_rows
from evodevo.run import networks
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.events import member_id
from evodevo.run.history import History
from evodevo.run.journal import JournalError, Tail
from evodevo.run.life import Life
from evodevo.run.means import Means
from evodevo.run.origin import find_origin
from evodevo.run.recipes import Recipes
from evodevo.run.records import Assignment, CheckpointRef, Job, NetworkStart, WorkUnit
from evodevo.run.retention import needed_checkpoints
from evodevo.run.setup import JOURNAL
from evodevo.run.simulation import invented, play
from evodevo.service.replay import compare_replay, replay_config
from tests.configs import complaint
from tests.golden import assert_golden
from tests.run.fakes import (
    FakeCaller,
    befall,
    carry_out,
    config_of,
    finished,
    history_of,
    new_run,
    parameters,
    stop,
    story,
)
from tests.run.moments import moments_of

KINDS: dict[str, dict[str, Any]] = {
    "generations": {},
    "pools": {"search__pace": "pools", "search__pool": 2},
    "truncation": {"search__strategy": "truncation_pbt"},
    "legs": {"search__generations": 3, "search__legs": 2},
    "means": {
        "search__recombine": {"last": 0.5},
        "search__initialisation": "shared",
        "search__soup": True,
    },
    "scratch": {"search__inherit": "none", "search__legs": 2},
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def config(kind: str = "generations", ploidy: int = 3, **changes: Any) -> RunConfig:
    mixing = {"fraction": 0.5} if kind == "truncation" else {"sigma": 0.0, "survivors": 0.0}
    own = {"search__population": 6, "search__options": {"initial": "spread", **mixing}}
    return config_of(**{**own, **KINDS[kind], "search__ploidy": ploidy, **changes})


def givers(life: Life) -> list[str | None]:
    return [network.parent for network in life.birth.networks]


def simulated(ploidy: int = 2, **changes: Any) -> History:
    sizes = {"search__population": 40, "search__generations": 30}
    made = config_of(**{**sizes, "search__ploidy": ploidy, **changes})
    return play(made, invented, made.strategy)


def test_each_network_of_a_child_is_from_alpha_or_beta_and_both_are_equally_likely() -> None:
    history = simulated()
    strategy, counts = history.config.strategy(), Counter[int]()
    for life in history.lives():
        if life.generation:
            before = [one.as_member() for one in history.generations[life.generation - 1]]
            asked = life.generation, life.slot, strategy.evaluated(before), life.slot, life.birth
            alpha, beta = life.birth.parent_params, strategy.beta(*asked)
            assert set(givers(life)) <= {alpha, beta}
            counts[givers(life).count(alpha)] += alpha != beta
    whole = counts.total()
    assert whole > 500
    shares = [counts[at] / whole for at in range(3)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.05)


def test_the_networks_of_members_that_go_on_are_their_own() -> None:
    history = simulated()
    gone_on = [
        life
        for lives in history.generations[1:]
        for life in lives
        if life.birth.genome == history.generations[life.generation - 1][life.slot].birth.genome
    ]
    assert len(gone_on) >= 29 * 10  # a quarter of each generation
    assert all(set(givers(life)) == {f"g{life.generation - 1:03d}s{life.slot:03d}"} for life in gone_on)


@pytest.mark.parametrize("strategy", ["random_search", "scheduled"])
def test_where_lines_do_not_mix_all_networks_are_from_the_one_parent(strategy: str) -> None:
    options = {"epochs": 30} if strategy == "scheduled" else {}
    history = simulated(search__strategy=strategy, search__options=options)
    for life in history.lives():
        expected = [] if life.birth.parent_params is None else [life.birth.parent_params] * 2
        assert givers(life) == expected


def test_truncation_copies_networks_from_two_of_the_best_and_keeps_those_of_who_is_kept() -> None:
    mixed = 0
    history = simulated(search__strategy="truncation_pbt", search__population=10)
    for life in history.lives():
        parents = {name for name in givers(life) if name}
        before = [one for one in history.generations[life.generation - 1] if one.fom is not None]
        best = sorted(before, key=lambda one: one.fom if one.fom is not None else 0.0)[1:2]
        if life.generation and parents == {f"g{life.generation - 1:03d}s{life.slot:03d}"}:
            continue
        assert all(history.by_id[name].fom <= best[0].fom for name in parents)  # type: ignore[operator]
        mixed += len(parents) == 2
    assert mixed > 5


def test_hyperparameters_parents_and_seeds_are_those_of_members_with_one_network() -> None:
    """Only foms could change them, and here foms depend on a member's place alone."""
    one, several = simulated(1), simulated(3)
    for before, life in zip(one.lives(), several.lives(), strict=True):
        assert (life.birth.genome, life.training_seed) == (before.birth.genome, before.training_seed)
        assert life.birth.parent_params == before.birth.parent_params
        assert before.birth.networks == ()
        assert life.epoch == before.epoch


def test_networks_have_seeds_of_their_own_of_which_the_first_is_the_members() -> None:
    seeds = [network_seed(seed, at) for seed in range(200) for at in range(4)]
    assert seeds[::4] == list(range(200))
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert leg_seed(7, 1) != network_seed(7, 1)


@each_kind
def test_each_network_begins_with_what_the_one_in_its_place_left(kind: str, tmp_path: Path) -> None:
    """The fakes compute what each network comes to: that of its whole line, and in no other order."""
    caller = FakeCaller()
    history = finished(tmp_path / "run", config(kind), caller)
    assert history.end == "done"
    assert all(len(one.networks) == (0 if one.mean_of else 3) for one in caller.assignments)
    for one in caller.assignments:
        if one.mean_of:
            continue
        life = history.by_id[one.member]
        for at, start in enumerate(one.networks):
            expected = networks.start_of(history, life, one.leg, at)
            assert (start.parent, start.hyperparameters) == (expected, one.hyperparameters)
            assert start.training_seed == leg_seed(network_seed(life.training_seed, at), one.leg)
        assert one.parent is None
        assert set(one.inputs) == {start.parent for start in one.networks if start.parent}
    if history.inherits and kind != "means":
        assert any(len(set(givers(life))) > 1 for life in history.lives())


@each_kind
def test_the_history_is_the_same_whatever_the_order_of_answers_and_the_attempts_lost(
    kind: str, tmp_path: Path
) -> None:
    expected = story(finished(tmp_path / "plain", config(kind)))
    for seed in range(3):
        draw = random.Random(seed)
        fates = {}

        def fate(one: Assignment, fates: dict[Any, Any] = fates, draw: random.Random = draw) -> Any:
            unlucky = one.attempt < 3 and draw.random() < 0.2
            return fates.setdefault((one.member, one.attempt), "worker" if unlucky else "done")

        caller = FakeCaller(fate, shuffle=random.Random(seed))
        assert story(finished(tmp_path / f"{seed}", config(kind), caller)) == expected
    assert story(finished(tmp_path / "other", config(kind, run__seed=8))) != expected


@each_kind
def test_a_run_killed_at_any_record_has_the_history_of_one_that_was_never_killed(
    kind: str, tmp_path: Path
) -> None:
    whole = finished(tmp_path / "never killed", config(kind, search__generations=3))
    run = new_run(tmp_path / "undisturbed", config(kind, search__generations=3))
    kills = 0
    for kills, moment in enumerate(moments_of(run, lambda: carry_out(run, FakeCaller())), 1):
        again = moment.restore(tmp_path / str(kills))
        history = carry_out(again, FakeCaller())
        assert (history.end, story(history)) == ("done", story(whole))
        assert set(CheckpointStore(str(again / "params")).names()) >= needed_checkpoints(history)
    assert kills > 20


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "scratch"])
def test_each_checkpoint_that_is_lost_during_a_run_is_made_again_with_the_same_history(
    kind: str, tmp_path: Path
) -> None:
    plain = FakeCaller()
    expected = story(finished(tmp_path / "plain", config(kind), plain))
    for at in range(1, len(plain.assignments), 3):
        run, seen = new_run(tmp_path / f"{at}", config(kind)), list[Assignment]()

        def lose(one: Assignment, run: Path = run, at: int = at, seen: list[Assignment] = seen) -> None:
            seen.append(one)
            if len(seen) == at:
                for path in (run / "params").glob("*.safetensors"):
                    path.unlink()

        history = carry_out(run, FakeCaller(watch=lose))
        assert (history.end, story(history)) == ("done", expected), at


def child_of_two(history: History) -> Life:
    """The first member whose networks are from two parents."""
    return next(life for life in history.lives() if len(set(givers(life))) > 1)


def test_a_checkpoint_is_made_from_those_that_its_networks_are_from(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config())
    child = child_of_two(history)
    assert child.outcome is not None
    assert child.outcome.checkpoint is not None
    recipe = Recipes(history).of(child.outcome.checkpoint.name)
    assert recipe is not None
    assert {ref.name.partition("-")[0] for ref in recipe.inputs} == set(givers(child))


def test_a_child_that_is_not_done_keeps_both_parents_of_its_networks(tmp_path: Path) -> None:
    child = child_of_two(finished(tmp_path / "plain", config()))
    run = new_run(tmp_path / "run", config())
    stop(run, befall("hang", child.id))
    kept = {name.partition("-")[0] for name in needed_checkpoints(history_of(run), lambda life: False)}
    assert kept >= set(givers(child))


def test_the_line_of_a_network_is_that_of_its_place(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config(search__generations=6))
    life = history.generations[-1][0]
    for at in range(3):
        line = networks.line_of(history, life, at)
        assert [one.generation for one in line] == list(range(6))
        assert [givers(child)[at] for child in line[1:]] == [parent.id for parent in line[:-1]]
    assert history.line(life) == networks.line_of(history, life, 0)
    ends = history.generations[-1]
    lines = {tuple(one.id for one in networks.line_of(history, end, at)) for end in ends for at in range(3)}
    assert len(lines) > 4


def test_a_mean_is_of_members_whose_networks_in_each_place_have_one_founder() -> None:
    """One that shares a founder with the best in one place only is left out."""
    lines = [(), (), ("g000s000", "g000s001"), ("g000s000", "g000s000"), ("g000s000", "g000s001")]
    means, lives = Means(1, "min"), list[Life]()
    for number, parents in enumerate(lines):
        generation, slot = (0, number) if number < 2 else (1, number - 2)
        birth = Birth(
            {}, parent_params=parents[0] if parents else None, networks=tuple(map(Network, parents))
        )
        lives.append(Life(member_id(generation, slot), generation, slot, birth, 0, generation, 0.0))
        means.born(lives[-1])
    foms = [replace(life.as_member(), fom=0.1 * life.slot) for life in lives[2:]]
    assert means.related(Population(foms, "min", lambda foms: foms)) == ["g001s000", "g001s002"]


def test_without_a_barrier_networks_that_were_trained_for_different_times_go_on_together(
    tmp_path: Path,
) -> None:
    """The fakes refuse a network that has not the epochs that its assignment says."""
    steady = {"search__pace": "steady", "search__generations": 8, "search__population": 4}
    caller = FakeCaller(shuffle=random.Random(1))
    history = finished(tmp_path / "run", config(**steady), caller)
    assert history.end == "done"
    ages = [{start.epoch for start in one.networks} for one in caller.assignments]
    assert any(len(found) > 1 for found in ages)
    assert all(life.epoch == caller.assignments[0].epoch for life in history.births[:4])
    killed = befall("hang", "g005s001")
    stop(new_run(tmp_path / "killed", config(**steady)), killed)
    assert carry_out(tmp_path / "killed", FakeCaller()).end == "done"


@each_kind
def test_a_replay_trains_each_network_along_its_own_line_and_ends_in_the_originals_parameters(
    kind: str, tmp_path: Path
) -> None:
    history = finished(tmp_path / "run", config(kind))
    assert history.best is not None
    (tmp_path / "schedule.yaml").write_text(Schedule.of(history, history.best).to_yaml())
    schedule = Schedule.load(tmp_path / "schedule.yaml")
    assert schedule == Schedule.of(history, history.best)
    replay = replay_config(history.config, schedule, "again")
    replayed = finished(tmp_path / "replay", replay)
    result = compare_replay(schedule, replayed)
    assert any(entry.mean_of > 1 for entry in schedule.entries) == (kind == "means")
    assert result.identical == (kind != "means")
    assert "a line for each of 3 networks" in result.text(schedule)
    assert ("lives started from a mean" in result.text(schedule)) == (kind == "means")
    other = finished(tmp_path / "other", replay_config(history.config, schedule, "other", seed=3))
    assert not compare_replay(schedule, other).identical
    seeds = [one.training_seed for life in other.lives() for one in life.birth.networks]
    assert len(set(seeds)) == len(seeds) == 3 * len(schedule.entries)


def test_the_schedule_of_one_network_says_nothing_of_networks(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config(ploidy=1))
    assert history.best is not None
    assert "networks" not in Schedule.of(history, history.best).to_yaml()
    assert "networks" not in (tmp_path / "run" / JOURNAL).read_text()
    assert "networks" not in history_rows(history)[0]
    assert not {"networks_per_member", "network_epochs"} & summary_of(history).keys()


def test_networks_whose_lines_have_different_lengths_are_not_replayed(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config())
    assert history.best is not None
    schedule = Schedule.of(history, history.best)
    entries = [replace(schedule.entries[0], networks=()), *schedule.entries[1:]]
    said = complaint(lambda: replay_config(history.config, replace(schedule, entries=entries), "again"))
    assert "the 3 networks of" in said


@pytest.mark.parametrize("spoilt", ["3", "[3, 3, 3]", "[{genome: {}}]", "[{genome: 3, training_seed: 1}]"])
def test_a_schedule_with_networks_that_cannot_be_is_refused(spoilt: str, tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config(ploidy=1))
    assert history.best is not None
    text = Schedule.of(history, history.best).to_yaml()
    (tmp_path / "schedule.yaml").write_text(
        text.replace("- epoch: 0\n", f"- epoch: 0\n  networks: {spoilt}\n")
    )
    said = complaint(lambda: Schedule.load(tmp_path / "schedule.yaml"))
    assert said.startswith(str(tmp_path / "schedule.yaml"))


def test_journal_and_table_say_whose_each_network_is(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config())
    records = Tail(tmp_path / "run" / JOURNAL).read()
    births = {born["member"]: born for record in records for born in record.get("births", ())}
    for row in history_rows(history):
        life = history.by_id[row["member"]]
        born = births[row["member"]]
        if life.generation == 0:
            assert "networks" not in born
            assert row["networks"] is None
        else:
            assert born["networks"] == [{"parent": name} for name in row["networks"]]
            assert row["networks"] == givers(life)


def test_a_network_with_its_own_genome_and_seed_goes_through_the_journal(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config())
    assert history.best is not None
    replay = replay_config(history.config, Schedule.of(history, history.best), "again")
    births = [life.birth for life in finished(tmp_path / "replay", replay).lives()]
    expected = [one.birth for one in play(replay, invented, replay.strategy).lives()]
    assert births == expected
    assert all(network.genome and network.training_seed is not None for network in births[-1].networks)


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ([{"parent": "g000s000"}], "has 1 networks instead of 3"),
        ([{"parent": "g009s000"}] * 3, "descends from g009s000, which is not born"),
        ([{"parent": "g000s000", "training_seed": "x"}] * 3, "networks with the seeds"),
        ([{"parent": "g000s000", "genome": {}}] * 3, "KeyError"),
        ([3] * 3, "AttributeError"),
    ],
)
def test_a_journal_with_impossible_networks_is_refused_with_its_record(
    spoilt: list[Any], said: str, tmp_path: Path
) -> None:
    finished(tmp_path / "run", config())
    records = Tail(tmp_path / "run" / JOURNAL).read()
    for record in records:
        for born in record.get("births", ()):
            if "networks" in born:
                born["networks"] = spoilt
    with pytest.raises(JournalError, match=said):
        History.of(records)


def test_a_unit_says_what_each_network_begins_with_after_its_way_to_a_worker() -> None:
    ref = CheckpointRef("g0-a1.safetensors", 3, "abc")
    starts = NetworkStart(ref, 2, 7, {"rate": 0.1}), NetworkStart(None, 0, 8, {"rate": 0.2})
    one = Assignment("g1", 1, {"rate": 0.1}, None, 2, 7, networks=starts)
    job = Job("run", {"use": "a:B"}, "loss", "/somewhere", None, 1, 10.0, ploidy=2)
    again = WorkUnit.from_text(WorkUnit(job, [one]).to_text())
    assert (again.job, list(again.assignments)) == (job, [one])
    assert one.inputs == (ref,)
    other = CheckpointRef("x", 3, "def")
    assert [start.parent for start in one.with_inputs(lambda ref: other).networks] == [other, None]
    assert job.leg_timeout_s(3) == 60.0  # each network has the time limit of a single one


def test_what_ensembles_cost_is_told_in_epochs_of_networks(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config(search__epochs_per_generation=2))
    facts = summary_of(history)
    assert (facts["networks_per_member"], facts["network_epochs"]) == (3, 3 * 6 * 4 * 2)
    assert "each of 3 networks (144 network-epochs)" in dict(summary_lines(history))["members"]
    single = finished(tmp_path / "single", config(ploidy=1, search__population=18))
    results = results_of({"one": {7: single}, "three": {7: history}})
    head, rows = tables(history.config, results)[0]
    assert [row[head.index("network-epochs")] for row in rows] == ["72", "144"]
    assert "network-epochs" not in tables(history.config, results[:1])[0][0]


class Odd(TriParent):
    """Names a second parent that cannot be one."""

    answer: Any = "g009s000"

    def beta(self, generation: int, slot: int, parents: Population, own: int, birth: Birth) -> str:
        answer: str = self.answer
        return answer


class OneNetwork(TriParent):
    """Gives one network in place of three."""

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        born = super().birth(generation, slot, parents, own)
        return replace(born, networks=(Network(born.parent_params),))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Odd, "beta(1, 0, ...) returned 'g009s000'; it should be a parent that has a fom"),
        (OneNetwork, "returned 1 networks, but search.ploidy is 3"),
    ],
)
def test_what_a_strategy_says_wrongly_of_networks_fails_the_run(kind: type[TriParent], said: str) -> None:
    made = config(search__strategy=f"{__name__}:{kind.__name__}")
    with pytest.raises(RunFailed, match=re.escape(said)):
        play(made, invented, made.strategy)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("none", {"search__ploidy": 0}),
        ("too-many", {"search__ploidy": 65}),
        ("text", {"search__ploidy": "two"}),
        ("program", {"workload__use": None, "workload__command": "train", "workload__options": {}}),
        ("gang", {"cluster__workers_per_member": 2}),
        ("member-time", {"limits__member_time_s": 60}),
    ],
)
def test_members_that_cannot_be_ensembles_are_refused_in_one_message(
    name: str, changes: dict[str, Any]
) -> None:
    if "limits__member_time_s" in changes:
        changes = {**changes, "search__inherit": "none"}
    message = complaint(lambda: config_of(**{"search__ploidy": 2, **changes}))
    assert message.count("search.ploidy") == 1
    assert_golden(f"config/ploidy/{name}", message)


def test_checkpoints_of_ensembles_hold_a_network_for_each(tmp_path: Path) -> None:
    """Of the fakes, whose file has 16 bytes of each: the table of a run counts their storage as it is."""
    history = finished(tmp_path / "run", config())
    assert history.best is not None
    assert history.best.outcome is not None
    ref = history.best.outcome.checkpoint
    assert ref is not None
    assert ref.size_bytes == 3 * 16
    assert len(parameters(CheckpointStore(str(tmp_path / "run" / "params")).read(ref))) == 3


def test_a_run_does_not_begin_from_members_with_another_number_of_networks(tmp_path: Path) -> None:
    finished(tmp_path / "small", config())
    following = config_of(run__name="next", search__start={"run": "small"}, search__ploidy=2)
    said = complaint(lambda: find_origin(following, tmp_path))
    assert_golden("start/another-ploidy", said)
    genome = config_of(run__name="next", search__start={"run": "small", "take": "genome"}, search__ploidy=2)
    assert find_origin(genome, tmp_path) is not None
    same = config_of(run__name="next", search__start={"run": "small"}, search__ploidy=3)
    assert find_origin(same, tmp_path) is not None
