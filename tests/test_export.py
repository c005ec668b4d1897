"""The best model of a run, taken away from it."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from run.fakes import finished, history_of, new_run
from run.handmade import Pen
from test_command_line import run as command
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
from tests.golden import assert_golden
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
    name = best_name(run)
    (run / "params" / name).unlink()
    told = complaint(lambda: evodevo.load_model(run))
    assert f"`evodevo verify {run.name} --repair`" in told
    assert_golden("export/checkpoint-missing", told, tmp=run.parent, checkpoint=name)


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
    assert status == 0
    assert_golden("export/done", told, file=name)
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
    assert ("--member" in what) == is_product
    if is_product:
        assert_golden("export/soup", what)


def test_a_programs_checkpoint_is_copied_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_with(tmp_path / "run", b"whatever", ".checkpoint")
    status, told, _ = command(capsys, "export", str(run), "--out", str(tmp_path / "mine.bin"))
    assert status == 0
    assert_golden("export/checkpoint-of-a-program", told, tmp_path)
    assert (tmp_path / "mine.bin").read_bytes() == b"whatever"
    assert_golden("export/model-of-a-program", complaint(lambda: evodevo.load_model(run)))


def test_a_directory_that_a_program_wrote_is_a_directory_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "saved"
    (saved / "more").mkdir(parents=True)
    (saved / "more" / "weights").write_bytes(b"whatever")
    run = run_with(tmp_path / "run", directories.pack(saved), ".checkpoint")
    status, told, _ = command(capsys, "export", str(run))
    assert status == 0
    assert_golden("export/directory-of-a-program", told, tmp_path)
    assert (run / "model.checkpoint" / "more" / "weights").read_bytes() == b"whatever"
    status, _, err = command(capsys, "export", str(run))
    assert status == 2
    assert_golden("export/directory-exists", err, tmp_path)


def test_what_cannot_be_exported_is_said_in_one_message(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: str) -> str:
        status, out, err = command(capsys, "export", *arguments, "--runs-dir", str(tmp_path))
        assert (status, out, err.count("\n")) == (2, "", 1)
        return err.removeprefix("evodevo: ").rstrip()

    new_run(tmp_path / "unborn")
    finished(tmp_path / "foreign")
    assert_golden("export/no-run", refused("nobody").partition(";")[0], tmp_path)
    assert_golden("export/no-best-member", refused("unborn"))
    assert refused("run", "--out", str(tmp_path)).startswith("--out ")
    assert_golden("export/unknown-suffix", refused("run", "--out", "x.onnx"))
    assert_golden("export/no-directory", refused("run", "--out", "no/where.pt"))
    assert_golden("export/foreign-checkpoint", refused("foreign"))
