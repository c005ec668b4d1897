"""What a crayai driver script calls: parameters, commands, refusals, grids, logs. Nothing is trained."""

import inspect
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evodevo.compat.crayai import hpo
from evodevo.compat.crayai.hpo.log import Log
from evodevo.compat.crayai.hpo.points import Points, PointsOptions, axis, count_of
from evodevo.errors import UsageError
from evodevo.evolution.space import Space
from tests.golden import raises_golden
from tests.run.handmade import Pen, checkpoint
from workers.workloads.command import Command

PARAMS = [["--lr", 0.001, (1e-6, 0.1)], ["--h1", 16, (4, 64)], ["--optimizer", "Adam", ["Adam", "Nadam"]]]


def params(*given: Any) -> hpo.Params:
    return hpo.Params([*(given or PARAMS)])


def test_ranges_and_choices_become_loci() -> None:
    assert params().loci == {
        "lr": {"type": "float", "low": 1e-6, "high": 0.1, "initial": 0.001},
        "h1": {"type": "int", "low": 4, "high": 64, "initial": 16},
        "optimizer": {"type": "choice", "choices": ["Adam", "Nadam"], "initial": "Adam"},
    }
    assert params(["--w", 3, (1, 5.0)]).loci["w"]["type"] == "float", "one bound is not an integer"


def test_an_initial_value_outside_the_choices_is_one_of_them_and_long_tuples_are_choices() -> None:
    found = params(["--dropout", 0.1, [0.0, 0.5]], ["--lr", 0.001, tuple(np.logspace(-6, 0, num=7))]).loci
    assert found["dropout"]["choices"] == [0.1, 0.0, 0.5]
    assert found["lr"]["initial"] == 0.001
    assert all(type(choice) is float for choice in found["lr"]["choices"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--lr", 1.0, (1e-6, 0.1)], "the initial value 1.0 of --lr should lie in the range"),
        (["--lr", 0.1, (0.5, 0.1)], "the initial value 0.1 of --lr"),
        (["--lr", 0.1], "should be"),
        (["--lr", "a", (0.1, 0.5)], "give numbers for a range"),
        (["--lr", 0.1, 5], "a list of choices"),
        ([" ", 0.1, (0.0, 1.0)], "empty"),
        (["--lr 'x", 0.1, (0.0, 1.0)], "is not valid in a shell"),
        (["--lr", [1], [[1], [2]]], "give text or numbers as choices"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(given: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        hpo.Params([given])


def run_command(evaluator: hpo.Evaluator, chosen: hpo.Params, parent: bytes | None = None) -> tuple[str, Any]:
    """Run the command of an evaluator as a worker would; returns its output and its checkpoint."""
    values = {param.name: param.initial for param in chosen}
    command = Command(evaluator.arguments(chosen))
    attempt = command.begin(values, 7, parent)
    told = subprocess.run(attempt.arguments, capture_output=True, text=True, check=True).stdout
    return told, command.checkpoint(attempt)


def test_flags_are_appended_in_their_own_spelling() -> None:
    chosen = params(
        ["-a", -1.0, (-1.0, 1.0)],
        ["--optimizer lr", 0.5, (0.0, 1.0)],
        ["--seed", 3, (1, 5)],
        ["--{x}", "a b", ["c"]],
    )
    told, _ = run_command(hpo.Evaluator("printf '<%s>' '{one}'"), chosen)
    assert told == "<{one}><-a><-1.0><--optimizer><lr><0.5><--seed><3><--{x}><a b>"


def test_a_command_runs_in_a_copy_of_its_sources(tmp_path: Path) -> None:
    source = tmp_path / "it's a {source}"
    source.mkdir()
    (source / "program.sh").write_text("echo FoM: $2 > result; cat result; pwd")
    told, _ = run_command(hpo.Evaluator("sh program.sh", src_path=source), params(["--lr", 0.5, (0.0, 1.0)]))
    assert told.startswith("FoM: 0.5\n")
    assert [path.name for path in source.iterdir()] == ["program.sh"]


def test_a_checkpoint_is_a_directory_that_has_the_parent_s_in_it() -> None:
    evaluator = hpo.Evaluator(
        "cat @checkpoint/epochs; echo epoch >> @checkpoint/epochs; :", checkpoint="kept"
    )
    chosen = params(["--lr", 0.5, (0.0, 1.0)])
    first = hpo.Evaluator("echo epoch >> @checkpoint/epochs; :", checkpoint="kept")
    _, begun = run_command(first, chosen)
    told, kept = run_command(evaluator, chosen, begun)
    assert told == "epoch\n"
    assert run_command(evaluator, chosen, kept)[0] == "epoch\nepoch\n"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("launcher", "urika"),
        ("workload_manager", "pbs"),
        ("nodes_per_eval", 4),
        ("alloc_jobid", 123),
        ("launch_args", "-n 4 -u"),
        ("urika_args", "--no-node-list"),
        ("fom", "loss: "),
        ("nodes", 0),
        ("no_such_keyword", 1),
        ("src_path", "/no/such/directory"),
        ("src_path", 3),
        ("run_path", 3),
        ("checkpoint", 3),
        ("fom", None),
        ("timeout", "x"),
    ],
)
def test_a_keyword_of_an_evaluator_that_is_not_supported_is_named(keyword: str, value: Any) -> None:
    with pytest.raises(UsageError, match=keyword):
        hpo.Evaluator("python train.py", **{keyword: value})


def test_the_keywords_of_the_public_examples_are_taken() -> None:
    about: dict[str, Any] = {
        "launcher": "wlm",
        "nodes": 4,
        "nodes_per_eval": 1,
        "alloc_jobid": 0,
        "verbose": True,
    }
    evaluator = hpo.Evaluator("train", run_path="runs", checkpoint="", launch_args="", **about)
    hpo.Evaluator("train", workload_manager="local", num_parallel_evals=20, verbose=True)
    assert evaluator.workers == 4
    genetic: dict[str, Any] = {"pop_size": 8, "num_demes": 4, "mutation_rate": 0.05, "crossover_rate": 0.33}
    hpo.GeneticOptimizer(evaluator, generations=4, verbose=True, log_fn="hpo.log", **genetic)
    hpo.genetic.Optimizer(evaluator, gens_per_epoch=1, migration_interval=5, **genetic)
    hpo.RandomOptimizer(evaluator, num_iters=10, seed=42, verbose=True)
    assert hpo.random.Optimizer(evaluator, numIters=7).num_iters == 7
    hpo.GridOptimizer(evaluator, grid_size=2, chunk_size=50, verbose=True)
    with pytest.raises(UsageError, match="num_iters is 0 and should be a whole number of 1 or more"):
        hpo.RandomOptimizer(evaluator, numIters=0)
    with pytest.raises(UsageError, match="seed is -1 and should be a whole number of 0 or more"):
        hpo.GeneticOptimizer(evaluator, seed=-1)
    with raises_golden("crayai/gens-per-epoch", UsageError):
        hpo.GeneticOptimizer(evaluator, gens_per_epoch=2)
    for optimizer in (hpo.GeneticOptimizer, hpo.RandomOptimizer, hpo.GridOptimizer):
        with pytest.raises(UsageError, match="'goal' is not supported"):
            optimizer(evaluator, goal=0.1)
        assert next(iter(inspect.signature(optimizer).parameters)) == "evaluator"


def test_options_of_sbatch_become_the_config_s() -> None:
    evaluator = hpo.Evaluator(
        "train",
        nodes=32,
        launcher="wlm",
        alloc_args="-J hpo -p debug -C haswell --time=4:00:00 -c 64 --exclusive",
    )
    assert evaluator.cluster() == {
        "slurm": {
            "max_workers": 32,
            "gpus": 0,
            "directives": ["-J hpo", "-C haswell", "--exclusive"],
            "walltime": "4:00:00",
            "cpus": 64,
            "partition": "debug",
        }
    }
    config = hpo.GeneticOptimizer(evaluator, generations=2, pop_size=4).config(params(), "name")
    assert config.cluster.slurm.max_workers == 32


def test_a_genetic_search_is_the_paper_s_over_all_demes() -> None:
    evaluator = hpo.Evaluator("train --save @checkpoint", checkpoint="kept", timeout=60)
    config = hpo.GeneticOptimizer(evaluator, 3, num_demes=2, pop_size=5, mutation_rate=0.4, seed=9).config(
        params(), "name"
    )
    search = config.search
    assert (search.strategy, search.population, search.generations) == ("vose2019", 10, 3)
    assert search.inherit == "parameters"
    alone = hpo.GeneticOptimizer(hpo.Evaluator("train")).config(params(), "name")
    assert alone.search.inherit == "none", "without a checkpoint nothing is handed on"
    assert config.search.options["mutation_rate"] == 0.4
    assert config.run.seed == 9
    assert config.checkpoints.url is not None
    assert config.checkpoints.url.endswith("/kept")
    assert config.limits.epoch_timeout_s == 60


def space_of(chosen: hpo.Params) -> Space:
    config = hpo.RandomOptimizer(hpo.Evaluator("train"), num_iters=1).config(chosen, "name")
    return config.space()


def test_a_grid_has_the_initial_values_and_then_each_point_once() -> None:
    chosen = params(["-a", 1.0, (-1.0, 1.0)], ["-n", 3, (1, 2 + 2)], ["--kind", "x", ["x", "y"]])
    space = space_of(chosen)
    optimizer = hpo.GridOptimizer(hpo.Evaluator("train"), grid_size=3)
    population = optimizer.config(chosen, "name").search.population
    strategy = Points(space, population, "min", 0, PointsOptions(grid_size=3))
    points = [tuple(strategy.founder(0, slot).genome.values()) for slot in range(population)]
    assert points[0] == (1.0, 3, "x")
    assert len(set(points[1:])) == len(points) - 1 == count_of(space, 3) == 18
    assert set(points[1:]) == {(a, n, k) for a in (-1.0, 0.0, 1.0) for n in (1, 2, 4) for k in ("x", "y")}
    assert axis(space.loci["a"], 1) == [0.0]


def test_a_grid_beyond_all_bounds_is_refused() -> None:
    many = hpo.Params([[f"--x{at}", 0.5, (0.0, 1.0)] for at in range(7)])
    with raises_golden("crayai/grid-too-large", UsageError):
        hpo.GridOptimizer(hpo.Evaluator("train"), grid_size=6).config(many, "name")


def test_random_points_lie_anywhere_and_depend_on_the_seed() -> None:
    space = space_of(params(["-a", 1.0, (-1.0, 1.0)]))

    def drawn(seed: int) -> list[Any]:
        strategy = Points(space, 50, "min", seed, PointsOptions())
        return [strategy.founder(0, slot).genome["a"] for slot in range(50)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert drawn(1)[0] == 1.0
    assert min(drawn(1)) < -0.8
    assert max(drawn(1)[1:]) > 0.8


def test_a_log_is_read_as_the_examples_read_it(tmp_path: Path) -> None:
    pen = Pen()
    pen.generation(None, None, foms=(3.0, 1.0))
    chosen = params(["--rate", 0.01, (1e-4, 1.0)], ["--layers", 1, (1, 9)])
    log = Log(tmp_path / "logs" / "hpo.log", 2, 1, chosen)
    best = min(pen.history.lives(), key=lambda life: float(life.fom or 9))
    log.add(pen.history, 0, best, 2.0)
    summary = pd.read_csv(tmp_path / "logs" / "hpo.log", sep=r"\s+")
    assert [*summary.columns[:4]] == ["generation", "epoch", "best_fom", "avg_fom"]
    assert [*summary.columns[4:]] == ["checkpoint_in", "checkpoint_out", "--rate", "--layers"]
    row = summary.iloc[0]
    assert (row.generation, row.epoch, row.best_fom, row.avg_fom) == (0, 1, 1.0, 2.0)
    assert (row["--rate"], row["--layers"], row.checkpoint_out) == (0.02, 1, checkpoint("g000s001").name)
    deme = pd.read_csv(tmp_path / "logs" / "Deme2_hpo.log", sep=r"\s+").iloc[0]
    assert (deme.generation, deme.tag, deme.fitness, deme.FoM) == (0, "deme2_ind0", 1.0, 1.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: hpo.genetic.Optimizer(hpo.Evaluator("true"), mutation_rate="x"), "mutation_rate is 'x'"),
        (lambda: hpo.genetic.Optimizer(hpo.Evaluator("true"), log_fn=3), "log_fn is 3"),
        (lambda: hpo.grid.Optimizer(hpo.Evaluator("true"), grid_size=10**9), "grid_size is 1000000000"),
        (lambda: hpo.Evaluator("true", launcher="wlm", alloc_args="-c x").cluster(), "-c x in alloc_args"),
        (lambda: hpo.Evaluator("true", launcher="wlm", alloc_args="'").cluster(), "alloc_args are"),
        (lambda: hpo.Params("ab"), "should be a list"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_named(make: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make()
