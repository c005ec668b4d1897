"""Members with several networks: whole runs as a person begins them, and what is left of them afterwards."""

import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

import evodevo as package
from evodevo.run.checkpoints import CheckpointStore
from tests.integration.clusters import (
    PATIENCE_S,
    Held,
    Processes,
    evodevo,
    history_of,
    untimed_history,
    write_config,
)
from tests.integration.digits import Digits

pytestmark = pytest.mark.slow
SMALL = {"search__population": 4, "search__generations": 4, "search__ploidy": 3, "search__soup": False}


class Together(nn.Module):
    """As docs/ensembles.md has it: nothing of evodevo's."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.stack([network(inputs).softmax(1) for network in self.networks]).mean(0)


def launch(directory: Path, name: str, *arguments: str, **changes: Any) -> str:
    config = write_config(directory, name, **{**SMALL, **changes})
    done = evodevo("launch", str(config), "--runs-dir", str(directory), *arguments)
    assert done.returncode == 0, done.stderr
    return re.sub(r" +", " ", done.stdout)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run of ensembles that one worker has carried out, and nothing has disturbed."""
    directory = tmp_path_factory.mktemp("runs")
    said = launch(directory, "plain", "--workers", "1")
    assert "each of 3 networks (48 network-epochs)" in said
    return directory


def test_the_history_is_the_same_with_two_workers_that_are_killed_in_the_middle_of_members(
    runs: Path, tmp_path: Path, processes: Processes
) -> None:
    held = Held(tmp_path)
    cluster = {"workers": 2, "members_per_device": 2}
    config = write_config(tmp_path, **{**SMALL, "workload__options": held.options, "cluster": cluster})
    arguments = ("-m", "evodevo", "launch", str(config), "--runs-dir", str(tmp_path))
    launched = processes.start(*arguments, log="launch")
    held.until_epochs_began(2)
    held.kill()
    held.file.unlink()
    assert launched.wait(PATIENCE_S) == 0, processes.log("launch")
    assert history_of(tmp_path / "digits").lost_attempts >= 2
    assert untimed_history(tmp_path / "digits") == untimed_history(runs / "plain")


def test_networks_come_from_two_parents_and_a_checkpoint_holds_all_of_them(runs: Path) -> None:
    history = history_of(runs / "plain")
    children = [life for lives in history.generations[1:] for life in lives]
    assert any(len({network.parent for network in life.birth.networks}) == 2 for life in children)
    assert history.best is not None
    assert history.best.outcome is not None
    ref = history.best.outcome.checkpoint
    assert ref is not None
    names = safetensors.torch.load(CheckpointStore(str(runs / "plain" / "params")).read(ref))
    assert {name.split(".")[1] for name in names if name.startswith("networks.")} == {"0", "1", "2"}


def test_what_a_run_has_found_is_an_ensemble_of_plain_torch(runs: Path, tmp_path: Path) -> None:
    toy = Digits()
    toy.prepare(torch.device("cpu"), None)
    model = Together([toy.model() for _ in range(3)])
    model.load_state_dict(package.load_model(runs / "plain"))
    images, labels = toy.splits.validation
    with torch.no_grad():
        probabilities = model.eval()(images)
    best = history_of(runs / "plain").best
    assert best is not None
    loss = -probabilities[torch.arange(len(labels)), labels].log().mean()
    assert float(loss) == pytest.approx(best.fom, rel=1e-5)
    out = tmp_path / "ensemble.safetensors"
    done = evodevo("export", "plain", "--runs-dir", str(runs), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "an ensemble of 3 networks" in done.stdout
    model.load_state_dict(safetensors.torch.load_file(out))


def test_a_replay_ends_with_the_same_networks_and_the_best_is_trained_on_as_an_ensemble(runs: Path) -> None:
    replayed = evodevo("replay", "plain", "--runs-dir", str(runs))
    assert replayed.returncode == 0, replayed.stderr
    assert "the same as the original's, bit for bit" in replayed.stdout
    assert "a line for each of 3 networks" in replayed.stdout
    told = evodevo("train-best", "plain", "--patience", "1", "--max-epochs", "2", "--runs-dir", str(runs))
    assert told.returncode == 0, told.stderr
    names = safetensors.torch.load_file(runs / "plain" / "trained.safetensors").keys()
    assert {name.split(".")[1] for name in names} == {"0", "1", "2"}


def test_averages_means_and_the_soup_of_ensembles_go_to_a_runs_end_and_into_another_run(
    tmp_path: Path,
) -> None:
    averaged = {"search__judge": "averaged", "search__recombine": {"last": 0.5}, "search__soup": True}
    shared = {"search__initialisation": "shared"}
    said = launch(tmp_path, "first", **averaged, **shared)
    assert "soup" in said
    history = history_of(tmp_path / "first")
    assert history.means
    assert history.soup is not None
    launch(tmp_path, "second", search__start={"run": "first"})
    refused = evodevo(
        "launch",
        str(write_config(tmp_path, "third", search__start={"run": "first"})),
        *("--runs-dir", str(tmp_path)),
    )
    assert refused.returncode == 2
    assert "search.ploidy is 3 in 'first' but 1 in this run" in refused.stderr


@pytest.mark.parametrize("command", ["check", "launch"])
def test_a_workload_that_cannot_combine_predictions_is_refused_in_one_message(
    command: str, tmp_path: Path
) -> None:
    config = write_config(tmp_path, workload__use="nets:Plain", search__ploidy=2)
    told = evodevo(command, str(config), "--runs-dir", str(tmp_path))
    assert told.returncode == 2
    assert "Traceback" not in told.stderr + told.stdout
    assert "search.ploidy: is 2, but Plain does not define how to combine" in told.stderr
    assert told.stderr.count("search.ploidy") == 1
