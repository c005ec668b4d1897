"""A run that begins from the parameters and the genome of another one."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from run.fakes import PARAMETERS, FakeCaller, carry_out, config_of, finished, history_of, new_run, story
from run.moments import moments_of

from evodevo.config import RunConfig, parse
from evodevo.config_start import with_initials
from evodevo.report.schedule import Schedule
from evodevo.report.summary import summary_lines
from evodevo.run import setup
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.history import History
from evodevo.run.origin import Found, as_begun, find_origin
from evodevo.run.retention import needed_checkpoints
from evodevo.run.setup import create_run
from evodevo.service.replay import compare_replay, replay_config
from tests.configs import complaint
from tests.golden import assert_golden

LOCI: dict[str, Any] = {
    "rate": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log", "initial": 0.02},
    "layers": {"type": "int", "low": 1, "high": 6, "initial": 3},
    "optimizer": {"type": "choice", "choices": ["adam", "sgd"], "initial": "adam"},
}


def begun(directory: Path, config: RunConfig) -> tuple[Path, Found]:
    """A run that `config.search.start` begins from another; what a service does."""
    found = find_origin(config, directory.parent)
    assert found is not None
    create_run(directory, found.config, start=(found.origin, found.data))
    return directory, found


def from_first(**changes: Any) -> RunConfig:
    return config_of(search__start={"run": "first"}, run__seed=11, run__name="second", **changes)


def later() -> FakeCaller:
    """Founders start from parameters of 4 epochs."""
    return FakeCaller(epochs_before=4)


@pytest.fixture
def first(tmp_path: Path) -> History:
    """A run that is done."""
    return finished(tmp_path / "first", config_of(run__name="first"))


@pytest.fixture
def second(first: History, tmp_path: Path) -> Path:
    """A run that has begun from the first one."""
    return begun(tmp_path / "second", from_first())[0]


def test_founders_start_from_the_best_parameters_and_all_others_from_their_own_parents(
    first: History, second: Path
) -> None:
    caller = later()
    history = carry_out(second, caller)
    origin, best = history.origin, first.best
    assert origin is not None
    assert best is not None
    assert best.outcome is not None
    assert best.outcome.checkpoint is not None
    assert (origin.run, origin.run_id, origin.member) == ("first", first.run_id, best.id)
    assert (origin.metric, origin.fom, origin.epochs) == ("validation_loss", best.fom, 4)
    assert origin.checkpoint.sha256 == best.outcome.checkpoint.sha256
    assert history.end == "done"
    for assignment in caller.assignments:
        founder = assignment.member.startswith("g000")
        assert (assignment.parent == origin.checkpoint) == founder
        assert assignment.epoch == int(assignment.member[1:4]), "epochs are those of this run"
    assert history.best is not None
    assert history.best.fom is not None
    assert best.fom is not None
    assert history.best.fom < max(life.fom for life in first.generations[0] if life.fom is not None)


def test_the_best_genome_is_what_the_founders_begin_around(first: History, second: Path) -> None:
    assert first.best is not None
    assert first.best.birth.genome != first.config.space().given()
    history = carry_out(second, later())
    assert history.config.space().given() == first.best.birth.genome
    assert history.generations[0][0].birth.genome == first.best.birth.genome


def test_nothing_of_the_other_run_is_needed_once_it_has_begun(
    first: History, second: Path, tmp_path: Path
) -> None:
    expected = story(carry_out(shutil.copytree(second, tmp_path / "copy"), later()))
    shutil.rmtree(tmp_path / "first")
    history = carry_out(second, later())
    assert (history.end, story(history)) == ("done", expected)
    kept = set(CheckpointStore(str(second / "params")).names())
    assert history.origin is not None
    assert history.origin.checkpoint.name in kept == needed_checkpoints(history)


def test_a_run_that_began_from_another_and_is_killed_at_any_record_has_the_same_history(
    second: Path, tmp_path: Path
) -> None:
    moments = moments_of(second, lambda: carry_out(second, later()))
    expected = story(history_of(second))
    for number, moment in enumerate(moments):
        history = carry_out(moment.restore(tmp_path / str(number)), later())
        assert (history.end, story(history)) == ("done", expected)


def test_a_founder_that_is_born_again_later_starts_from_the_same_parameters(
    first: History, tmp_path: Path
) -> None:
    """Of four that keep to themselves one diverges; the next in its slot is a founder again."""
    options = {"epochs": 4, "initial": "spread"}
    run, _ = begun(tmp_path / "second", from_first(search__strategy="scheduled", search__options=options))
    caller = FakeCaller(lambda a: "diverged" if a.member == "g001s002" else "done", epochs_before=4)
    history = carry_out(run, caller)
    assert history.end == "done"
    assert history.origin is not None
    starting = [a.member for a in caller.assignments if a.parent == history.origin.checkpoint]
    assert starting == ["g000s000", "g000s001", "g000s002", "g000s003", "g002s002"]


def test_hyperparameter_evolution_trains_every_member_from_them(first: History, tmp_path: Path) -> None:
    config = from_first(
        search__strategy="mutate_best", search__population=1, search__generations=5, search__options={}
    )
    run, _ = begun(tmp_path / "second", config)
    caller = later()
    history = carry_out(run, caller)
    assert history.origin is not None
    assert {a.parent for a in caller.assignments} == {history.origin.checkpoint}
    assert len(caller.assignments) == 5


def test_parameters_alone_leave_the_loci_as_the_config_has_them(first: History, tmp_path: Path) -> None:
    config = config_of(
        search__start={"run": "first", "take": "parameters"},
        search__strategy="mutate_best",
        search__population=1,
        search__generations=3,
        search__options={},
        run__name="second",
    )
    run, found = begun(tmp_path / "second", config)
    caller = later()
    history = carry_out(run, caller)
    assert found.config == config
    assert history.origin is not None and first.best is not None
    assert history.generations[0][0].birth.genome == config.space().given() != first.best.birth.genome
    assert {a.parent for a in caller.assignments} == {history.origin.checkpoint}
    assert as_begun(config, history) == config
    message = complaint(lambda: config_of(search__start={"run": "a", "take": "parameters", "fix": ["rate"]}))
    assert_golden("start/fixed-without-genome", message)


def test_the_schedule_begins_with_the_run_and_says_what_it_starts_from(second: Path, tmp_path: Path) -> None:
    history = carry_out(second, later())
    assert history.best is not None
    assert history.origin is not None
    schedule = Schedule.of(history, history.best)
    assert (schedule.epochs, schedule.entries[0].member[:4]) == (4, "g000")
    assert schedule.start == {
        "run": "first",
        "member": history.origin.member,
        "epochs": 4,
        "checkpoint_sha256": history.origin.checkpoint.sha256,
    }
    (tmp_path / "schedule.yaml").write_text(schedule.to_yaml())
    assert Schedule.load(tmp_path / "schedule.yaml") == schedule
    fom = f"{history.origin.fom:.6g}"
    assert dict(summary_lines(history))["began from"] == (
        f"{history.origin.member} of first (validation_loss {fom}, 4 epochs)"
    )


def test_a_replay_begins_with_the_parameters_that_the_original_began_with(
    second: Path, tmp_path: Path
) -> None:
    history = carry_out(second, later())
    assert history.best is not None
    schedule = Schedule.of(history, history.best)
    shutil.rmtree(tmp_path / "first")
    config = replay_config(history.config, schedule, "again", original=second)
    assert parse(config.to_json()) == config
    run, found = begun(tmp_path / "again", config)
    assert found.config.search.loci == config.search.loci
    assert compare_replay(schedule, carry_out(run, later())).identical
    replayed = history_of(run).origin
    assert replayed is not None
    assert history.origin is not None
    assert (replayed.run, replayed.member) == ("first", history.origin.member)


def test_a_third_run_counts_the_epochs_of_both_before_it(second: Path, tmp_path: Path) -> None:
    carry_out(second, later())
    third = config_of(search__start={"run": str(second)}, run__name="third")
    run, _ = begun(tmp_path / "elsewhere" / "third", third)
    history = carry_out(run, FakeCaller(epochs_before=8))
    assert history.origin is not None
    assert (history.end, history.origin.run, history.origin.epochs) == ("done", "second", 8)


def test_checkpoints_at_a_url_are_copied_to_the_runs_own_place(first: History, tmp_path: Path) -> None:
    url = str(tmp_path / "everybody's")
    run, _ = begun(tmp_path / "second", from_first(checkpoints__url=url))
    origin = history_of(run).origin
    assert origin is not None
    store = CheckpointStore(f"{url}/second-{history_of(run).run_id}")
    assert store.names() == [origin.checkpoint.name]
    assert PARAMETERS.unpack(store.read(origin.checkpoint))[1] == 4
    assert carry_out(run, later()).end == "done"


def test_what_the_run_starts_from_counts_as_a_checkpoint_that_is_kept(first: History, tmp_path: Path) -> None:
    """Two generations of four, the best, and the start, of 16 bytes each."""
    for most, end in ((160, "done"), (159, "failed")):
        run, _ = begun(tmp_path / str(most), from_first(checkpoints__max_bytes=most))
        assert carry_out(run, later()).end == end


def test_where_the_run_cannot_be_made_no_copy_is_left(
    first: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = tmp_path / "everybody's"
    found = find_origin(from_first(checkpoints__url=str(url)), tmp_path)
    assert found is not None

    def taken_meanwhile(unborn: Path, directory: Path) -> None:
        assert len(list(url.rglob("*.safetensors"))) == 1
        directory.mkdir()
        raise FileExistsError

    monkeypatch.setattr(setup, "_rename_to_new", taken_meanwhile)
    with pytest.raises(FileExistsError):
        create_run(tmp_path / "second", found.config, start=(found.origin, found.data))
    assert not list(url.rglob("*.safetensors"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["everybody's", "first", "second"]


def test_a_locus_keeps_its_own_value_where_the_genome_has_none_that_it_can_have() -> None:
    config = config_of(
        search__loci={
            **LOCI,
            "momentum": {"type": "float", "low": 0.5, "high": 0.9, "initial": 0.7},
            "width": {"type": "float", "low": 1, "high": 9, "initial": 2.0},
            "decay": {"type": "fixed", "value": 0.1},
        }
    )
    genome = {"rate": 3.0, "layers": 5, "optimizer": "lion", "width": 4, "decay": 0.3, "more": 1}
    changed, facts = with_initials(config, genome)
    assert changed.space().given() == {
        "rate": 0.02,
        "layers": 5,
        "optimizer": "adam",
        "momentum": 0.7,
        "width": 4.0,
        "decay": 0.1,
    }
    assert facts == [
        "initial: layers 5, width 4 of its genome",
        "initial as given: rate (3.0 is not possible here), optimizer ('lion' is not possible here), "
        "momentum (not in it)",
    ]
    assert parse(changed.to_json()) == changed


def test_the_same_config_is_recognized_as_that_of_the_run(first: History, second: Path) -> None:
    history, config = history_of(second), from_first()
    assert config.differs_from(history.config) == ["search"]
    assert as_begun(config, history).differs_from(history.config) == []
    other = from_first(search__population=5)
    assert as_begun(other, history).differs_from(history.config) == ["search"]
    without = config_of(run__seed=11, run__name="second")
    assert as_begun(without, history).differs_from(history.config) == ["search"]


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("no-run", {"run": "third"}),
        ("no-directory", {"run": "/no/where"}),
        ("unborn", {"run": "unborn"}),
        ("no-start", {"run": "first", "take": "start"}),
        ("program", {"run": "program"}),
    ],
)
def test_what_cannot_be_started_from_is_said_in_one_message(
    name: str, start: dict[str, Any], first: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_run(tmp_path / "unborn", config_of(run__name="unborn"))
    ref = CheckpointStore.ref
    with monkeypatch.context() as patched:
        patched.setattr(
            CheckpointStore, "ref", lambda store, stem, data: ref(store, stem, data, ".checkpoint")
        )
        finished(tmp_path / "program", config_of(run__name="program"))
    config = config_of(search__start=start)
    told = complaint(lambda: find_origin(config, tmp_path))
    assert told.startswith("search.start: ")
    assert_golden(f"start/{name}", told.partition("; there are: ")[0], tmp_path)


def test_a_checkpoint_that_is_gone_or_altered_is_not_started_from(first: History, tmp_path: Path) -> None:
    assert first.best is not None
    assert first.best.outcome is not None
    assert first.best.outcome.checkpoint is not None
    path = tmp_path / "first" / "params" / first.best.outcome.checkpoint.name
    path.write_bytes(b"x" * 16)
    altered = complaint(lambda: find_origin(from_first(), tmp_path))
    assert_golden("start/altered-checkpoint", altered, tmp_path, checkpoint=path.name)
    path.unlink()
    told = complaint(lambda: find_origin(from_first(), tmp_path))
    assert "`evodevo verify first --repair`" in told
    assert_golden("start/missing-checkpoint", told, tmp_path, checkpoint=path.name)


@pytest.mark.parametrize(
    ("name", "start", "key"),
    [
        ("unknown-key", {"rum": "first"}, "search.start.rum"),
        ("run-name", {"run": "a b"}, "search.start.run"),
        ("take", {"run": "first", "take": "worst"}, "search.start.take"),
        ("text", "first", "search.start"),
    ],
)
def test_a_start_that_is_written_wrong_is_said_with_its_key(name: str, start: Any, key: str) -> None:
    said = complaint(lambda: config_of(search__start=start))
    assert f"{key}: " in said
    assert_golden(f"config/start/{name}", said)
