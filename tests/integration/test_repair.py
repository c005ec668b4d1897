"""Checkpoints that are lost or altered are made again, bit for bit, in real processes."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import evodevo as package
from tests.integration.clusters import (
    PATIENCE_S,
    Held,
    Processes,
    evodevo,
    history_of,
    until,
    untimed_history,
    write_config,
)

pytestmark = pytest.mark.slow

KINDS: dict[str, dict[str, Any]] = {
    "generations": {},
    "pools": {"search__pace": "pools", "search__pool": 2},
    "legs": {"search__legs": 2, "search__generations": 2},
    "epochs": {"search__epochs_per_generation": 2, "search__judge": "averaged"},
    "means": {"search__recombine": {"last": 0.5}, "search__soup": True, "search__generations": 4},
    "ploidy": {
        "search__ploidy": 2,
        "search__recombine": {"last": 0.5},
        "search__soup": True,
        "search__generations": 4,
    },
    "gangs": {"workload__use": "nets:Plain", "cluster": {"workers_per_member": 2}},
}
PROGRAM = """
import argparse, os, pathlib
given = argparse.ArgumentParser()
for name in ("learning_rate", "momentum"):
    given.add_argument(f"--{name}", type=float)
for name in ("resume", "save", "seed"):
    given.add_argument(f"--{name}")
given = given.parse_args()
before = float(pathlib.Path(given.resume).read_text()) if given.resume else 9.0
now = 0.9 * before + given.learning_rate + int(given.seed) % 7 / 100 + float(os.environ.get("DRIFT", 0))
pathlib.Path(given.save).write_text(repr(now))
print("FoM:", now)
"""


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[package.Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        with package.local(workers=2, runs_dir=tmp_path_factory.mktemp("runs")) as client:
            yield client


def config_of(path: Path, name: str, kind: str, **changes: Any) -> Path:
    small = {"search__population": 3, "search__generations": 3}
    return write_config(path, name, **{**small, **KINDS[kind], **changes})


def sums(run: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (run / "params").iterdir()}


def alter(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def without_products(run: Path) -> None:
    """Nothing can be copied from them."""
    for path in run.glob("*.safetensors"):
        path.unlink()


@pytest.mark.parametrize("kind", KINDS)
def test_all_checkpoints_of_a_finished_run_are_made_again_bit_for_bit(
    kind: str, tmp_path: Path, workers: package.Client
) -> None:
    run = workers.submit(config_of(tmp_path, kind, kind))
    assert run.wait().state == "done"
    directory = workers.runs_dir / kind
    before = sums(directory)
    best = history_of(directory).best
    assert best is not None
    *most, last = [
        path for path in sorted((directory / "params").glob("g*")) if not path.match(f"{best.id}*")
    ]
    alter(last)  # if all but the best and the soup were gone, that would be on purpose
    for path in {*(directory / "params").iterdir()} - {last}:
        path.unlink()
    assert most
    without_products(directory)
    done = run.repair()
    assert done["problems"] == []
    assert "remade" in done["account"]
    assert sums(directory) == before
    assert run.repair()["account"] == ""


@pytest.mark.usefixtures("without_plots")
@pytest.mark.parametrize("damage", [Path.unlink, alter], ids=["deleted", "altered"])
@pytest.mark.parametrize("kind", ["generations", "means"])
def test_a_stopped_run_resumes_with_the_same_history_whichever_checkpoint_is_damaged(
    kind: str, damage: Callable[[Path], None], tmp_path: Path, workers: package.Client
) -> None:
    name = f"{kind}-{damage.__name__}"
    whole = workers.submit(config_of(tmp_path, f"{name}-whole", kind))
    assert whole.wait().state == "done"
    expected = untimed_history(workers.runs_dir / f"{name}-whole")
    options = {"pause_s": 0.3}
    run = workers.submit(config_of(tmp_path, name, kind, workload__options=options))
    stopped = workers.runs_dir / name
    until(lambda: history_of(stopped).generations[2:], "the third generation")
    run.cancel()
    assert history_of(stopped).pending
    for at, path in enumerate(sorted((stopped / "params").iterdir())):
        copy = workers.runs_dir / f"{name}-{at}"
        shutil.copytree(stopped, copy)
        damage(copy / "params" / path.name)
        again = workers.run(copy.name)
        again.resume()
        assert again.wait().state == "done"
        assert untimed_history(copy) == expected


def test_a_checkpoint_that_is_deleted_while_its_child_is_on_the_way_is_made_again(
    tmp_path: Path, processes: Processes
) -> None:
    """The worker is killed too, as it has the parameters in memory."""
    plain = config_of(tmp_path, "plain", "generations")
    assert evodevo("launch", str(plain), "--runs-dir", str(tmp_path)).returncode == 0
    held = Held(tmp_path)
    options = {**held.options, "hold_from": 1}
    config = config_of(tmp_path, "held", "generations", workload__options=options, cluster={"workers": 1})
    launched = processes.start(
        "-m", "evodevo", "launch", str(config), "--runs-dir", str(tmp_path), log="launch"
    )
    run = tmp_path / "held"
    until(lambda: len(history_of(run).generations) > 1, "the second generation")
    held.until_epochs_began(1)
    for path in (run / "params").iterdir():
        path.unlink()
    held.kill()
    held.file.unlink()
    assert launched.wait(PATIENCE_S) == 0, processes.log("launch")
    assert "checkpoints were damaged: " in processes.log("launch")
    assert untimed_history(run) == untimed_history(tmp_path / "plain")


def test_verify_says_what_is_wrong_and_repairs_it(tmp_path: Path) -> None:
    config = config_of(tmp_path, "digits", "generations")
    there = ("--runs-dir", str(tmp_path))
    assert evodevo("launch", str(config), *there).returncode == 0
    run = tmp_path / "digits"
    fine = evodevo("verify", "digits", *there)
    assert (fine.returncode, fine.stderr) == (0, "")
    assert fine.stdout.endswith(" 0 damaged\n")
    before = sums(run)
    first, second, *_ = sorted((run / "params").iterdir())
    first.unlink()
    size = second.stat().st_size
    second.write_bytes(b"")
    without_products(run)
    bad = evodevo("verify", "digits", *there)
    assert bad.returncode == 1
    assert sorted(bad.stdout.splitlines()[:2]) == [
        f"checkpoint {first} is missing",
        f"checkpoint {second} has 0 bytes instead of {size}",
    ]
    assert bad.stderr == "evodevo: run digits is damaged; --repair makes checkpoints again\n"
    mended = evodevo("verify", "digits", "--repair", *there)
    assert mended.returncode == 0, mended.stderr
    assert "checkpoints remade by training" in mended.stdout
    assert sums(run) == before
    for path in (run / "params").iterdir():
        path.unlink()
    exported = evodevo("export", "digits", *there)
    assert exported.returncode == 0, exported.stderr
    assert (run / "model.safetensors").exists()
    assert evodevo("prune", "digits", *there).returncode == 0
    pruned = evodevo("verify", "digits", *there)
    assert pruned.returncode == 0, pruned.stdout
    assert "as after `evodevo prune`" in pruned.stdout


def test_a_program_that_gives_other_bytes_is_not_repaired_unless_that_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    config = write_config(
        tmp_path,
        "program",
        workload={
            "command": f"python {tmp_path}/train.py --resume {{checkpoint_in}} --save {{checkpoint_out}} "
            "--seed {seed}"
        },
        objective={"metric": "fom", "mode": "min"},
        search__population=3,
        search__generations=3,
    )
    there = ("--runs-dir", str(tmp_path))
    launched = evodevo("launch", str(config), *there)
    assert launched.returncode == 0, launched.stdout + launched.stderr
    run = tmp_path / "program"
    best = history_of(run).best
    assert best is not None
    assert best.outcome is not None
    assert best.outcome.checkpoint is not None
    lost = run / "params" / best.outcome.checkpoint.name
    before = sums(run)

    def lose() -> None:
        lost.unlink(missing_ok=True)
        (run / "best.checkpoint").unlink(missing_ok=True)

    lose()
    assert evodevo("verify", "program", "--repair", *there).returncode == 0
    assert sums(run) == before
    lose()
    refused = evodevo("verify", "program", "--repair", *there, DRIFT="0.001")
    assert refused.returncode == 1
    assert "has other bytes than the original" in refused.stdout
    assert sums(run) == {name: value for name, value in before.items() if name != lost.name}
    accepted = evodevo("verify", "program", "--repair", "--accept", *there, DRIFT="0.001")
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert '"kind":"replaced"' in (run / "journal.jsonl").read_text()
    assert evodevo("verify", "program", *there).returncode == 0
    assert json.loads((run / "summary.json").read_text())


def test_each_damaged_record_is_a_line_of_verify(tmp_path: Path) -> None:
    config = config_of(tmp_path, "digits", "generations", search__generations=1)
    there = ("--runs-dir", str(tmp_path))
    assert evodevo("launch", str(config), *there).returncode == 0
    journal = tmp_path / "digits" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    for at in (2, 4):
        lines[at] = lines[at].replace('"time":', '"tima":')
    journal.write_text("".join(lines))
    bad = evodevo("verify", "digits", "--repair", *there)
    assert bad.returncode == 1
    assert bad.stdout.splitlines()[:2] == [f"{journal}: record {at}: is damaged (checksum)" for at in (2, 4)]
