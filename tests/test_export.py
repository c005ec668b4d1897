"""The best model of a run, taken away from it."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import evodevo
from evodevo.report.products import write_products
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.codec import encode as encode_event
from evodevo.run.events import Ended, Soup
from evodevo.run.journal import Journal
from evodevo.run.records import Outcome
from evodevo.run.setup import JOURNAL
from evodevo.service.export import export
from tests.configs import complaint
from tests.run.fakes import finished, history_of, new_run
from tests.run.handmade import Pen
from tests.test_command_line import run as command
from tests.workers.states import encode
from workers import directories


@pytest.fixture
def net() -> nn.Module:
    return nn.Linear(3, 2)


@pytest.fixture
def run(tmp_path: Path, net: nn.Module) -> Path:
    """A run whose best checkpoint holds `net`."""
    content = encode(net, torch.optim.SGD(net.parameters(), 0.1))
    return run_with(tmp_path / "run", content, ".safetensors")


def run_with(directory: Path, content: bytes, suffix: str) -> Path:
    """A run whose best checkpoint has this content."""
    directory.mkdir()
    pen = Pen()
    pen.founders()
    ref = CheckpointStore(str(directory / "params")).publish("g000s001-a1", content, suffix)
    pen.done(g000s000=2.0)
    pen.outcome("g000s001", Outcome("done", 1.0, {}, ref))
    pen.end()
    write_products(pen.save(directory))
    return directory


def best_name(run: Path) -> str:
    best = history_of(run).best
    assert best is not None
    assert best.outcome is not None
    assert best.outcome.checkpoint is not None
    return best.outcome.checkpoint.name


def holds(state: dict[str, torch.Tensor], net: nn.Module) -> bool:
    return state.keys() == net.state_dict().keys() and all(
        torch.equal(state[name], value) for name, value in net.state_dict().items()
    )


def test_a_run_given_in_any_way_gives_a_state_that_the_network_loads(run: Path, net: nn.Module) -> None:
    for state in (
        evodevo.load_model(run),
        evodevo.load_model(str(run)),
        evodevo.load_model("run", run.parent),
        evodevo.load_model(evodevo.open_run(run)),
    ):
        assert holds(state, net)
    fresh = nn.Linear(3, 2)
    fresh.load_state_dict(evodevo.load_model(run))
    assert torch.equal(fresh.weight, net.weight)


@pytest.mark.parametrize("lost", ["best.safetensors", "params"])
def test_one_of_the_two_copies_is_enough(lost: str, run: Path, net: nn.Module) -> None:
    (run / lost if lost != "params" else run / lost / best_name(run)).unlink()
    assert holds(evodevo.load_model(run), net)


def test_a_copy_of_another_time_is_not_taken_for_the_best(run: Path, net: nn.Module) -> None:
    (run / "best.safetensors").write_bytes(b"of another member")
    assert holds(evodevo.load_model(run), net)
    (run / "params" / best_name(run)).unlink()
    told = complaint(lambda: evodevo.load_model(run))
    assert told.endswith(f"is missing; `evodevo verify {run.name} --repair` makes it again")


@pytest.mark.parametrize(("out", "name"), [((), "run/model.safetensors"), (("--out", "mine.pt"), "mine.pt")])
def test_the_file_is_written_and_named(
    out: tuple[str, ...],
    name: str,
    run: Path,
    net: nn.Module,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(run.parent)
    status, told, _ = command(capsys, "export", "run", "--runs-dir", ".", *out)
    assert (status, told) == (0, f"{name}: a state_dict with plain names, of member g000s001\n")
    read = safetensors.torch.load_file if name.endswith(".safetensors") else torch.load
    assert holds(read(run.parent / name), net)


@pytest.mark.parametrize(
    ("fom", "of", "is_product"),
    [
        (0.5, ("g000s000", "g000s001"), True),
        (1.0, ("g000s000", "g000s001"), False),
        (0.5, ("g000s001",), False),
    ],
)
def test_the_soup_is_what_is_taken_away_if_it_is_better_by_validation(
    fom: float, of: tuple[str, ...], is_product: bool, run: Path, net: nn.Module
) -> None:
    soup = nn.Linear(3, 2)
    store = CheckpointStore(str(run / "params"))
    ref = store.publish("soup-a0", encode(soup, torch.optim.SGD(soup.parameters(), 0.1)))
    with Journal(run / JOURNAL) as journal:
        journal.append([encode_event(Ended("done", None, {}, Soup(of, fom, {}, {}, ref)))])
    write_products(run)
    assert holds(evodevo.load_model(run), soup if is_product else net)
    assert holds(evodevo.load_model(run, member=True), net)
    _, what = export(run)
    assert ("the mean of 2 members (--member: g000s001 alone)" in what) == is_product


def test_a_programs_checkpoint_is_copied_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_with(tmp_path / "run", b"whatever", ".checkpoint")
    status, told, _ = command(capsys, "export", str(run), "--out", str(tmp_path / "mine.bin"))
    assert (status, told) == (
        0,
        f"{tmp_path / 'mine.bin'}: the checkpoint that the program wrote, as it is\n",
    )
    assert (tmp_path / "mine.bin").read_bytes() == b"whatever"
    assert complaint(lambda: evodevo.load_model(run)) == (
        "the checkpoints of 'run' are its program's own files; `evodevo export run` copies the best one"
    )


def test_a_directory_that_a_program_wrote_is_a_directory_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "saved"
    (saved / "more").mkdir(parents=True)
    (saved / "more" / "weights").write_bytes(b"whatever")
    run = run_with(tmp_path / "run", directories.pack(saved), ".checkpoint")
    status, told, _ = command(capsys, "export", str(run))
    assert status == 0
    assert told == f"{run / 'model.checkpoint'}: the directory that the program wrote, as it was\n"
    assert (run / "model.checkpoint" / "more" / "weights").read_bytes() == b"whatever"
    status, _, err = command(capsys, "export", str(run))
    assert (status, err) == (
        2,
        f"evodevo: {run / 'model.checkpoint'} is there already: remove it, or give another name with --out\n",
    )


def test_what_cannot_be_exported_is_said_in_one_message(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: str) -> str:
        status, out, err = command(capsys, "export", *arguments, "--runs-dir", str(tmp_path))
        assert (status, out, err.count("\n")) == (2, "", 1)
        return err.removeprefix("evodevo: ").rstrip()

    new_run(tmp_path / "unborn")
    finished(tmp_path / "foreign")
    assert refused("nobody").startswith(f"no run 'nobody' in {tmp_path}; there are: ")
    assert refused("unborn") == "run 'unborn' has no best member yet"
    assert refused("run", "--out", str(tmp_path)).startswith("--out ")
    assert refused("run", "--out", "x.onnx") == "--out x.onnx: should end in .safetensors, .pt or .pth"
    assert refused("run", "--out", "no/where.pt") == "--out no/where.pt: there is no directory no"
    assert refused("foreign") == "the best checkpoint of 'foreign': this is no checkpoint of evodevo's"
