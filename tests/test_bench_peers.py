"""scripts/bench/peers.py without the peers: budget, search space, epochs, the file of results, the table."""

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evodevo.config import RunConfig, parse
from evodevo.errors import RunFailed, UsageError
from evodevo.evolution.rng import training_seed
from evodevo.evolution.space import Space
from tests.golden import raises_golden
from tests.workers.toys import TOY, assignment
from workers.leg import Stopwatch, train_leg

BENCH = Path(__file__).resolve().parents[1] / "scripts" / "bench"
LOCI: dict[str, Any] = {
    "learning_rate": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log", "initial": 0.01},
    "momentum": {"type": "float", "low": 0.0, "high": 0.9, "initial": 0.5},
    "layers": {"type": "int", "low": 1, "high": 6, "initial": 3},
    "widths": {"type": "choice", "choices": [[8, 8], "wide", 3], "initial": [8, 8]},
    "bias": {"type": "bool", "initial": True},
    "depth": {"type": "int", "low": 1, "high": 9, "when": {"bias": False}},
    "smoothing": {"type": "fixed", "value": 0.1},
}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCH)
    return importlib.import_module


def a_config(**search: Any) -> RunConfig:
    loci = {name: LOCI[name] for name in ("learning_rate", "momentum")}
    return parse(
        {
            "run": {"name": "small", "seed": 4},
            "workload": {"use": TOY},
            "objective": {"metric": "validation_loss", "mode": "min"},
            "search": {"population": 3, "generations": 2, "loci": loci, **search},
        }
    )


def a_record(peer: str, seed: int, digest: str = "d", **metrics: float) -> dict[str, Any]:
    spent = {"member_epochs": 6, "seconds": 3.0, "training_seconds": 1.0, "version": "1.2"}
    return {"peer": peer, "seed": seed, "digest": digest, "metrics": metrics, **spent}


def test_the_budget_is_the_member_epochs_of_the_engine_s_own_run(bench: Any) -> None:
    assert bench("peer_search").budget_of(a_config()) == 6
    assert bench("peer_search").budget_of(a_config(epochs_per_generation=4)) == 24


@pytest.mark.parametrize(
    "change",
    [{"population": 4}, {"generations": 3}, {"loci": {"learning_rate": LOCI["learning_rate"]}}],
    ids=str,
)
def test_the_digest_changes_with_what_decides_a_result(bench: Any, change: Mapping[str, Any]) -> None:
    digest_of = bench("peer_search").digest_of
    assert digest_of(a_config(**change)) != digest_of(a_config())


def test_the_digest_is_the_same_for_another_name_place_of_data_and_strategy(bench: Any) -> None:
    digest_of = bench("peer_search").digest_of
    data = {**a_config(strategy="truncation_pbt").to_json(), "data": {"root": "/else"}, "run": {"name": "b"}}
    assert digest_of(parse(data)) == digest_of(a_config())


@pytest.mark.parametrize("logs", [False, True], ids=["as they are", "log10"])
def test_what_is_encoded_is_decoded_to_the_same_hyperparameters(bench: Any, logs: bool) -> None:
    space = Space(a_config(loci=LOCI, options={"initial": "random"}).search.loci)
    coded = bench("peer_search").encoded(space, logs)
    assert "depth" not in coded  # it has no initial value
    found = bench("peer_search").decoded(space, {**coded, "depth": 2}, logs)
    assert found.pop("learning_rate") == pytest.approx(0.01)
    assert found == {"momentum": 0.5, "layers": 3, "widths": [8, 8], "bias": True, "smoothing": 0.1}


def test_a_locus_counts_only_under_its_condition(bench: Any) -> None:
    space = Space(a_config(loci=LOCI, options={"initial": "random"}).search.loci)
    coded = {"learning_rate": 0.1, "momentum": 0.0, "layers": 1, "widths": 2, "bias": 0, "depth": 7}
    found = bench("peer_search").decoded(space, coded)
    assert (found["bias"], found["depth"], found["widths"]) == (False, 7, 3)


def test_values_beyond_the_bounds_are_put_back_on_them(bench: Any) -> None:
    search, space = bench("peer_search"), Space(a_config().search.loci)
    far = {"learning_rate": 1.2, "momentum": -0.1}
    assert search.clipped(space, far) == {"learning_rate": 1.0, "momentum": 0.0}
    assert search.decoded(space, far) == {"learning_rate": 1.0, "momentum": 0.0}
    assert search.clipped(space, {"learning_rate": -9.0}, logs=True) == {"learning_rate": -4.0}


@pytest.mark.parametrize(
    ("peers", "search", "says"),
    [
        (["ray_ptb"], {}, "unknown peer 'ray_ptb'; available: ray_pbt, ray_pb2, optuna_tpe"),
        (["ray_pbt", "ray_pbt"], {}, "names a peer twice"),
        (["ray_pbt"], {"steps_per_generation": 5}, "search.steps_per_generation"),
        (["ray_pb2"], {"loci": {"layers": LOCI["layers"]}}, "only float loci"),
        (["ray_pbt"], {"population": 1, "strategy": "mutate_best"}, "2 or more for Ray"),
        (["optuna_tpe"], {"loci": {"smoothing": LOCI["smoothing"]}}, "nothing to search"),
        (["optuna_tpe"], {"start": {"run": "other"}}, "fresh parameters"),
    ],
    ids=str,
)
def test_what_a_peer_cannot_run_is_refused(
    bench: Any, peers: list[str], search: Mapping[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        bench("peer_search").check(a_config(**search), peers)


def test_a_program_is_refused(bench: Any) -> None:
    plain = a_config(judge="raw", recombine=None, soup=False).to_json()
    config = parse({**plain, "workload": {"command": "train --x"}})
    with raises_golden("bench-peers/command", UsageError):
        bench("peer_search").check(config, ["optuna_tpe"])


@pytest.fixture
def trainer(bench: Any, tmp_path: Path) -> Any:
    config = bench("peer_search").as_it_was(a_config(judge="averaged"), 4)
    (tmp_path / "task.json").write_text(json.dumps({"peer": "optuna_tpe", "config": config.to_json()}))
    return bench("peer_training").Trainer(tmp_path)


def test_an_epoch_of_a_peer_is_an_epoch_of_a_worker_to_the_bit(trainer: Any) -> None:
    genome = {"learning_rate": 0.05, "momentum": 0.9}
    kept: list[bytes | None] = []
    one = assignment(hyperparameters=genome, training_seed=training_seed(4, 0, 0))
    told = train_leg(trainer.job, one, Stopwatch(), lambda data, suffix: kept.append(data))
    checkpoint, value = trainer.train(genome, 0, None)
    assert ([checkpoint], value) == (kept, told.fom)


def test_the_best_by_validation_at_any_time_is_tested_once(
    trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits: list[str] = []
    evaluate = trainer.workload.evaluate
    monkeypatch.setattr(
        trainer.workload, "evaluate", lambda state, split: splits.append(split) or evaluate(state, split)
    )
    good, better = {"learning_rate": 0.01, "momentum": 0.0}, {"learning_rate": 0.2, "momentum": 0.5}
    _, first = trainer.train(good, 0, None)
    parameters, best = trainer.train(better, 0, None)
    _, after = trainer.train({"learning_rate": 1e-4, "momentum": 0.0}, 0, None)
    assert best < min(first, after)
    result = trainer.result()
    assert result["metrics"]["validation_loss"] == best
    assert splits == ["validation"] * 3 + ["test"]
    state = trainer.workload.begin(better, 0, parameters)
    assert result["metrics"]["test_loss"] == evaluate(state, "test")["test_loss"]
    assert result["member_epochs"] == 3


def test_what_diverged_is_never_the_best_and_counts_as_the_worst_so_far(trainer: Any) -> None:
    assert trainer.finite(float("nan")) == 1e6
    _, first = trainer.train({"learning_rate": 0.01, "momentum": 0.0}, 0, None)
    _, value = trainer.train({"learning_rate": 1e30, "momentum": 0.0}, 0, None)
    assert value != value
    assert trainer.finite(value) == first
    assert trainer.result()["metrics"]["validation_loss"] == first
    assert trainer.result()["member_epochs"] == 2


def test_lines_of_another_config_and_torn_lines_do_not_count(bench: Any, tmp_path: Path) -> None:
    peers, path = bench("peers"), tmp_path / "small-compare" / "peers.jsonl"
    peers.append(path, a_record("ray_pbt", 0, loss=1.0))
    peers.append(path, a_record("ray_pbt", 1, "other", loss=2.0))
    with path.open("a") as file:
        file.write('{"peer": "ray_pbt", "see')
    assert peers.read_records(path, "d") == ({("ray_pbt", 0): a_record("ray_pbt", 0, loss=1.0)}, 1)
    peers.append(path, a_record("ray_pbt", 2, loss=3.0))
    peers.append(path, a_record("ray_pbt", 2, loss=4.0))
    found, others = peers.read_records(path, "d")
    assert {key: record["metrics"]["loss"] for key, record in found.items()} == {
        ("ray_pbt", 0): 1.0,
        ("ray_pbt", 2): 3.0,
    }
    assert others == 1


def test_there_are_no_records_before_the_first_run(bench: Any, tmp_path: Path) -> None:
    assert bench("peers").read_records(tmp_path / "peers.jsonl", "d") == ({}, 0)


def a_peer(monkeypatch: pytest.MonkeyPatch, peers: Any, directory: Path, name: str, text: str) -> None:
    monkeypatch.setattr(peers, "HERE", directory)
    monkeypatch.setattr(peers, "POLL_S", 0.01)
    (directory / f"peer_{name}.py").write_text(text)


def test_after_a_failed_run_its_peer_begins_no_other_and_the_rest_go_on(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = bench("peers")
    a_peer(monkeypatch, peers, tmp_path, "ray", "raise SystemExit('no memory left')")
    a_peer(monkeypatch, peers, tmp_path, "optuna", "print('noise'); print('{\"version\": \"9\"}')")
    wanted = [("ray_pbt", 4), ("optuna_tpe", 4), ("ray_pbt", 5)]
    pythons = dict.fromkeys(("ray", "optuna"), sys.executable)
    failed, done = list(peers.carry_out(a_config(), wanted, pythons, 1))
    assert isinstance(failed, RunFailed)
    assert str(failed) == "ray_pbt, seed 4, failed with exit status 1:\n  no memory left"
    assert (done["peer"], done["seed"], done["version"]) == ("optuna_tpe", 4, "9")
    assert done["digest"] == bench("peer_search").digest_of(a_config())


def test_bad_input_that_a_peer_finds_is_said_as_it_says_it(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = bench("peers")
    text = "import sys; print('noise'); print('data.root: is empty'); sys.exit(2)"
    a_peer(monkeypatch, peers, tmp_path, "optuna", text)
    with raises_golden("bench-peers/empty-data", UsageError, tmp_path):
        list(peers.carry_out(a_config(), [("optuna_tpe", 4)], {"optuna": sys.executable}, 1))


def test_a_python_without_the_library_is_refused(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    peers = bench("peers")
    monkeypatch.setattr(peers, "NEEDS", {"ray": "no_such_library"})
    with pytest.raises(UsageError, match=r"--ray-python .*: ModuleNotFoundError: .*no_such_library.*--help"):
        peers.check_python(sys.executable, "ray")
    with raises_golden("bench-peers/no-python", UsageError):
        peers.check_python("/no/python", "ray")


def test_bad_usage_is_one_message_with_exit_status_2(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(a_config().to_yaml())
    with pytest.raises(SystemExit) as why:
        bench("peers").main([str(path), "--peers", "ray_ptb"])
    assert why.value.code == 2
    assert capsys.readouterr().err.startswith("peers.py: --peers: unknown peer 'ray_ptb'")


def test_the_table_has_the_mean_and_deviation_of_each_metric(bench: Any, tmp_path: Path) -> None:
    records = [a_record("ray_pbt", seed, validation_loss=float(seed)) for seed in (1, 2, 3)]
    lines = list(bench("peer_table").lines_of(a_config(), 6, records, [], 3, tmp_path))
    assert lines == [
        "small: 6 member-epochs per run; mean ± deviation over seeds",
        "ray_pbt (1.2), 3 seeds, 6 member-epochs, 3.0 s per run, of which 2.0 s are not training",
        f"  {'validation_loss':24} 2 ± 1",
    ]


def test_an_arm_is_compared_seed_by_seed_on_validation_and_test(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = bench("peer_table")
    ours = {"validation_loss": {1: 0.9, 2: 1.8, 7: 0.1}, "test_loss": {1: 0.5, 2: 1.0, 7: 0.1}}
    monkeypatch.setattr(table, "values_of_arm", lambda *_: ours)
    records = [
        a_record("ray_pbt", seed, validation_loss=float(seed), test_loss=float(seed)) for seed in (2, 1, 3)
    ]
    lines = list(table.lines_of(a_config(), 6, records, ["tri_parent"], 3, tmp_path))
    assert lines[-2:] == [
        "  tri_parent compared with it, validation_loss: +10.0 % (no interval: fewer than 3 seeds) (2 seeds)",
        "  tri_parent compared with it, test_loss: +50.0 % (no interval: fewer than 3 seeds) (2 seeds)",
    ]


def test_an_arm_without_runs_is_said_to_have_none(bench: Any, tmp_path: Path) -> None:
    records = [a_record("ray_pbt", 4, validation_loss=1.0)]
    lines = list(bench("peer_table").lines_of(a_config(), 6, records, ["tri_parent"], 1, tmp_path))
    assert lines[-2] == "  tri_parent compared with it, validation_loss: no seed is finished for both"
