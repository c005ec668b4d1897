"""The tiny version of the checkup, from its first part to its last, without a GPU."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WORKLOADS = ["nmt", "detector"]
MEMBERS = ["resnet20", "lenet", "capsnet"]
RECORDS_BYTES = 10_000 * (1 + 3 * 32 * 32)


def write_cifar10(directory: Path) -> None:
    """60,000 black aeroplanes, in files that take no space."""
    directory.mkdir(parents=True)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        with open(directory / f"{name}.bin", "wb") as file:
            file.truncate(RECORDS_BYTES)


def write_evbnews(directory: Path) -> None:
    directory.mkdir()
    lines = [f"the word {number} {'and ' * (number % 5)}" for number in range(1200)]
    for language in ("vi", "en"):
        (directory / f"evbnews.{language}").write_text("".join(f"{line.strip()}\n" for line in lines))


def write_bccd(directory: Path) -> None:
    for folder in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (directory / folder).mkdir(parents=True)
    names = [f"image{number}" for number in range(6)]
    for split, own in {"train": names[:4], "val": names[4:5], "test": names[5:]}.items():
        (directory / "ImageSets/Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in own))
    sides = [16, 20, 24, 28, 36, 44]
    for name in names:
        Image.fromarray(np.full((64, 64, 3), 200, np.uint8)).save(directory / "JPEGImages" / f"{name}.jpg")
        objects = "".join(
            f"<object><name>cell</name><bndbox><xmin>4</xmin><ymin>4</ymin><xmax>{4 + side}</xmax>"
            f"<ymax>{4 + side + number}</ymax></bndbox></object>"
            for number, side in enumerate([*sides, *sides])
        )
        (directory / "Annotations" / f"{name}.xml").write_text(f"<annotation>{objects}</annotation>")


Checkup = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def checkup(tmp_path_factory: pytest.TempPathFactory) -> Checkup:
    """The output directory of a whole checkup, and what was printed."""
    base = tmp_path_factory.mktemp("checkup")
    write_cifar10(base / "data" / "cifar10" / "cifar-10-batches-bin")
    write_evbnews(base / "data" / "evbnews")
    write_bccd(base / "data" / "bccd" / "BCCD")
    told = subprocess.run(
        [
            sys.executable,
            "scripts/gpu/checkup.py",
            "--cpu",
            "--data",
            str(base / "data"),
            "--out",
            str(base / "out"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return base / "out", told


def findings(checkup: Checkup, part: str) -> list[dict[str, Any]]:
    lines = (checkup[0] / "results.jsonl").read_text().splitlines()
    return [one for one in map(json.loads, lines) if one["part"] == part]


def test_every_part_is_done(checkup: Checkup) -> None:
    out, told = checkup
    assert told.returncode == 0, (out / "log.txt").read_text() + told.stdout + told.stderr
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert {one["part"]: one["status"] for one in lines if "status" in one} == dict.fromkeys(
        [
            *("machine", "install", "tests", *(f"members-{name}" for name in MEMBERS), "inherit"),
            *(f"epochs-{name}" for name in WORKLOADS),
            *("twice", "population"),
        ],
        "done",
    )
    assert lines[0]["part"] == "machine"
    assert lines[0]["torch"]
    assert (out / "results.md").read_text() in told.stdout


@pytest.mark.parametrize("workload", WORKLOADS)
def test_each_precision_at_each_batch_size_has_the_seconds_of_an_epoch(
    checkup: Checkup, workload: str
) -> None:
    *rows, _ = findings(checkup, f"epochs-{workload}")
    assert [(row["batch"], row["precision"]) for row in rows] == [
        (batch, precision) for batch in (32, 128) for precision in ("float32", "tf32", "bf16")
    ]
    for row in rows:
        steps = max(1, row["examples"] // row["batch"])
        assert row["epoch_s"] == pytest.approx(steps / row["steps_per_s"], rel=0.05)


def test_tests_that_need_a_gpu_are_skipped_and_say_why(checkup: Checkup) -> None:
    *rows, _ = findings(checkup, "tests")
    assert {row["outcome"] for row in rows} == {"skipped"}
    assert {row["why"] for row in rows} == {"Skipped: torch sees no CUDA device"}


def test_two_quickstarts_are_the_same_bit_for_bit(checkup: Checkup) -> None:
    first, second, compared, _ = findings(checkup, "twice")
    assert compared["same_history"]
    assert compared["same_best"]
    assert first["best_fom"] == second["best_fom"]


@pytest.mark.parametrize("workload", MEMBERS)
def test_each_way_to_train_members_has_the_seconds_of_an_epoch(checkup: Checkup, workload: str) -> None:
    *rows, _ = findings(checkup, f"members-{workload}")
    assert [(row["way"], row["members"]) for row in rows] == [
        ("eager", 1), ("captured", 1), ("streams", 2), ("stacked", 2)
    ]  # fmt: skip
    assert all(row["steps_per_s"] > 0 and row["member_epoch_s"] > 0 for row in rows)
    captured = [row["notes"] == "training steps are captured as CUDA graphs" for row in rows]
    assert captured == [False, True, True, True]


def test_what_went_through_a_checkpoint_is_what_it_was(checkup: Checkup) -> None:
    *rows, _ = findings(checkup, "inherit")
    assert sorted(row["workload"] for row in rows) == sorted(MEMBERS)
    assert all(row["loads_as_it_was"] and row["trains_on_alike"] for row in rows)


def test_a_population_is_trained_from_launch_to_report(checkup: Checkup) -> None:
    run, _ = findings(checkup, "population")
    assert (run["state"], run["generations"], run["members_at_once"], run["member_epochs"]) == (
        "done", "2 of 2", 2, 4
    )  # fmt: skip
    assert run["launch_to_report_s"] > run["until_it_began_s"] > 0
