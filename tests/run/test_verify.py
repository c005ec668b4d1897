"""Whether a run is whole, and the command that repairs it."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from evodevo.errors import UsageError
from evodevo.run.journal import Tail, encode
from evodevo.run.origin import find_origin
from evodevo.run.repair import Repair
from evodevo.run.setup import JOURNAL, create_run
from evodevo.run.verify import verify
from tests.golden import raises_golden
from tests.run.fakes import (
    FakeCaller,
    befall,
    config_of,
    finished,
    history_of,
    new_run,
    small_machine,
    stop,
    story,
)


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "params").iterdir())


def repaired(run: Path, caller: FakeCaller | None = None, accepts: bool = False) -> Repair:
    repair = Repair(run, caller or FakeCaller(), {}, accepts)
    with small_machine():
        asyncio.run(repair.carry_out())
    return repair


@pytest.mark.parametrize(
    "search",
    [
        {},
        {"search__pace": "pools", "search__pool": 2},
        {"search__pace": "steady"},
        {"search__recombine": {"last": 0.5}, "search__soup": True},
        {"search__legs": 2},
    ],
    ids=str,
)
def test_a_run_is_whole_when_it_is_done_and_wherever_it_was_stopped(
    search: dict[str, Any], tmp_path: Path
) -> None:
    finished(tmp_path / "done", config_of(**search))
    found = verify(tmp_path / "done")
    assert (found.problems, found.notes) == ([], [])
    assert found.checkpoints == len(names(tmp_path / "done"))
    assert found.records == len(Tail(tmp_path / "done" / JOURNAL).read())
    for at in range(1, 16, 3):
        seen: list[str] = []

        def fate(assignment: Any, seen: list[str] = seen, at: int = at) -> Any:
            seen.append(assignment.member)
            return "hang" if len(seen) == at else "done"

        stop(new_run(tmp_path / f"{at}", config_of(**search)), FakeCaller(fate))
        assert verify(tmp_path / f"{at}").problems == []


def test_each_damage_is_a_line_and_a_repair_mends_it_with_the_same_bytes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    before = story(finished(run))
    contents = {name: (run / "params" / name).read_bytes() for name in names(run)}
    for name in names(run)[1:]:
        (run / "params" / name).unlink()
    (run / "params" / names(run)[0]).write_bytes(b"something")
    found = verify(run)
    assert len(found.problems) == len(found.damaged) == len(contents)
    assert all(line.startswith("checkpoint ") and "\n" not in line for line in found.problems)
    journal = (run / JOURNAL).read_bytes()
    repair = repaired(run)
    assert repair.problems == []
    assert "checkpoints remade by training" in repair.account
    assert {name: (run / "params" / name).read_bytes() for name in names(run)} == contents
    assert (run / JOURNAL).read_bytes() == journal, "nothing has changed that it tells"
    assert story(history_of(run)) == before
    assert verify(run).problems == []


def test_a_repair_of_many_trains_each_once_and_tells_how_many_epochs(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finished(run, config_of(search__recombine={"last": 0.5}))
    kept = names(run)
    for name in kept:
        (run / "params" / name).write_bytes(b"")
    caller = FakeCaller()
    repair = repaired(run, caller)
    trained = [one for one in caller.assignments if not one.mean_of]
    assert len(trained) == len({one.member for one in trained})
    assert repair.account == (
        f"{len(caller.assignments)} checkpoints remade by training {len(trained)} member-epochs"
    )
    assert names(run) == kept


def test_one_that_cannot_be_made_again_does_not_keep_others_from_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finished(run)
    kept = names(run)
    for name in kept:
        (run / "params" / name).write_bytes(b"")
    member = kept[-1].split("-")[0]
    repair = repaired(run, befall("failed", member))
    assert [name for name in names(run) if (run / "params" / name).stat().st_size] == kept[:-1]
    assert names(run) == kept, "nothing is taken away"
    assert [line.split(" is damaged")[0] for line in repair.problems] == [f"checkpoint {kept[-1]}"]
    assert f"Traceback of {member}" in repair.problems[0]


def test_other_bytes_are_accepted_by_command_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    finished(run)
    lost, *_ = names(run)
    (run / "params" / lost).unlink()
    monkeypatch.setattr("tests.run.fakes.quality_of", lambda inherited, hp, seed: 0.5 * inherited + 0.4)
    for path in run.glob("*.safetensors"):
        path.unlink()
    refused = repaired(run)
    assert "has other bytes than the original" in refused.problems[0]
    assert lost not in names(run)
    before = names(run)
    assert repaired(run, accepts=True).problems == []
    (new,) = set(names(run)) - set(before)
    assert new.startswith(lost.split("-")[0])
    assert verify(run).problems == []


def test_checkpoints_that_a_prune_deleted_are_no_damage(tmp_path: Path) -> None:
    run = tmp_path / "run"
    history = finished(run)
    assert history.best is not None
    for name in names(run):
        if not name.startswith(history.best.id):
            (run / "params" / name).unlink()
    found = verify(run)
    assert (found.problems, found.checkpoints, len(found.notes)) == ([], 1, 1)


def test_a_start_is_copied_anew_from_the_run_that_it_came_from_and_said_to_be_lost_without_it(
    tmp_path: Path,
) -> None:
    finished(tmp_path / "before", config_of(run__name="before"))
    config = config_of(search__start={"run": "before"})
    start = find_origin(config, tmp_path)
    assert start is not None
    run = tmp_path / "run"
    create_run(run, start.config, None, (start.origin, start.data))
    stop(run, FakeCaller(lambda one: "hang" if one.member == "g001s001" else "done", epochs_before=4))
    (origin,) = (run / "params").glob("start-*")
    origin.unlink()
    assert repaired(run, FakeCaller(epochs_before=4)).account == "1 checkpoint restored from a copy"
    assert verify(run).problems == []
    origin.unlink()
    (tmp_path / "before").rename(tmp_path / "elsewhere")
    repair = repaired(run, FakeCaller(epochs_before=4))
    assert repair.problems == [
        f"checkpoint {origin.name} is damaged and could not be remade: no member of the run left it; it "
        "came from the run that search.start or search.reuse names, which no longer has it"
    ]


def test_every_damaged_record_is_a_line_and_what_follows_is_not_believed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finished(run)
    lines = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    for at in (3, 6):
        lines[at] = lines[at].replace(b'"time"', b'"tima"')
    (run / JOURNAL).write_bytes(b"".join(lines))
    found = verify(run)
    assert found.problems == [f"{run / JOURNAL}: record {at}: is damaged (checksum)" for at in (3, 6)]
    assert found.history is None


def test_a_record_with_a_right_checksum_that_makes_no_sense_is_a_line(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finished(run)
    records = Tail(run / JOURNAL).read()
    at = next(number for number, one in enumerate(records) if one["kind"] == "outcome")
    records[at]["member"] = "nobody"
    (run / JOURNAL).write_bytes(b"".join(map(encode, records)))
    (line,) = verify(run).problems
    assert f"record {at} (kind 'outcome') is not valid: " in line


def test_a_record_that_is_cut_off_at_the_end_is_not_damage(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    stop(run, befall("hang", "g001s001"))
    with open(run / JOURNAL, "ab") as file:
        file.write(b'{"n":99,"ti')
    assert verify(run).problems == []


def test_a_store_that_does_not_answer_is_not_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    finished(run)

    def fails(files: object, path: str) -> bytes:
        raise OSError("the network is down")

    monkeypatch.setattr("evodevo.run.checkpoints.LocalFileSystem.cat_file", fails)
    with pytest.raises(UsageError, match="the network is down"):
        verify(run)


def test_a_strategy_of_a_users_is_not_imported(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finished(run)
    records = Tail(run / JOURNAL).read()
    records[0]["config"]["search"]["strategy"] = "evil:Strategy"
    (run / JOURNAL).write_bytes(b"".join(map(encode, records)))
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    sys.path.insert(0, str(tmp_path))
    try:
        verify(run)
    finally:
        sys.path.remove(str(tmp_path))
    assert "evil" not in sys.modules


def test_a_replaced_checkpoint_must_be_one_that_a_member_has(tmp_path: Path) -> None:
    history = finished(tmp_path / "run")
    life = history.generations[0][0]
    assert life.outcome is not None
    assert life.checkpoint_of(0) == life.outcome.checkpoint
    with pytest.raises(LookupError):
        life.checkpoint_of(-1)
    with raises_golden("verify/no-checkpoint-of-a-leg", LookupError):
        life.checkpoint_of(3)
