"""The commands that use the results of runs: export, replay, compare, ... `cli` lists them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import click

from evodevo import display
from evodevo.cli_common import (
    Where,
    at_scheduler,
    client_of,
    config_argument,
    console,
    follow,
    in_runs_dir,
    load_config,
    no_progress_option,
    on_cluster,
    only_json,
    overrides_option,
    refuse_another,
    resume_or_follow,
    run_argument,
    show_end,
    submit,
    submit_new,
)
from evodevo.cli_completion import trackers
from evodevo.config import RunConfig
from evodevo.config_file import parse_override
from evodevo.config_search import MOST_GENERATIONS
from evodevo.errors import RunFailed, UsageError
from evodevo.interrupts import heeding_interrupts
from evodevo.report.comparison_page import comparison_json, conclusion
from evodevo.report.schedule import Schedule
from evodevo.run import verify as verifying
from evodevo.run.tracking import configured
from evodevo.run.view import directory_of
from evodevo.service import comparison, tracking, training
from evodevo.service import export as exporting
from evodevo.service.replay import compare_replay, replay_config
from evodevo.service.run_handle import open_run


@click.command()
@run_argument
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A .safetensors or .pt file; model.safetensors in RUN's directory by default.",
)
@click.option("--member", is_flag=True, help="Write the best member's model, even if the soup is better.")
@in_runs_dir
def export(run: str, out: Path | None, member: bool, runs_dir: str) -> None:
    """Write the model that RUN found as a plain state_dict, for use without evodevo.

    It is the soup if that is better than the best member on the validation split.
    """
    directory = directory_of(run, runs_dir)
    try:
        path, what = exporting.export(directory, out, member)
    except exporting.Damaged:
        repaired(directory, open_run(directory).view.history.config, Where())
        path, what = exporting.export(directory, out, member)
    console.print(f"{path}: {what}", soft_wrap=True)


@click.command()
@run_argument
@click.argument("tracker", shell_complete=trackers)
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Set an option of the tracker.")
@in_runs_dir
def track(run: str, tracker: str, overrides: tuple[str, ...], runs_dir: str) -> None:
    """Send what happens in RUN to TRACKER (tensorboard, mlflow, wandb).

    A run that is at work is followed until it ends. Options default to those in the run's config. What was
    sent before is not sent again.
    """
    directory = directory_of(run, runs_dir)
    given = {**configured(directory).get(tracker, {}), **dict(parse_override(text) for text in overrides)}
    told = tracking.track(directory, tracker, given)
    console.print(f"{tracker} has all of run {directory.name}{f': {told}' if told else ''}", soft_wrap=True)


@click.command()
@run_argument
@click.option(
    "--seed", metavar="S", type=int, help="Seed of the replay; by default the original's seeds are used."
)
@click.option("--run-name", metavar="NAME", help="Name of the replay; RUN-replay by default.")
@no_progress_option
@in_runs_dir
@at_scheduler
def replay(
    run: str,
    seed: int | None,
    run_name: str | None,
    no_progress: bool,
    runs_dir: str,
    where: Where,
) -> None:
    """Train once from scratch along RUN's schedule and compare the result with the original."""
    directory = directory_of(run, runs_dir)
    original = open_run(directory)
    schedule = Schedule.load(directory / "schedule.yaml")
    config = replay_config(
        original.view.history.config,
        schedule,
        run_name or f"{original.name}-replay{'' if seed is None else f'-seed{seed}'}",
        seed,
        directory,
    )
    alone = dataclasses.replace(where, workers=1)  # there is one member
    with client_of(alone, str(directory.parent), config) as client:
        replayed = submit(client, config)
        follow(replayed, client, no_progress)
        show_end(replayed, client.runs_dir / replayed.name)
    result = compare_replay(schedule, replayed.view.history)
    console.print(result.text(schedule, seed), soft_wrap=True)


@click.command("train-best")
@run_argument
@click.option(
    "--patience",
    metavar="N",
    type=click.IntRange(1),
    default=training.DEFAULT_PATIENCE,
    show_default=True,
    help="Stop after N epochs without improvement.",
)
@click.option(
    "--max-epochs",
    metavar="N",
    type=click.IntRange(1, MOST_GENERATIONS),
    default=training.MOST_EPOCHS,
    show_default=True,
    help="Maximum number of epochs.",
)
@click.option("--run-name", metavar="NAME", help="Name of the run that trains it; RUN-trained by default.")
@no_progress_option
@in_runs_dir
@at_scheduler
def train_best(
    run: str,
    patience: int,
    max_epochs: int,
    run_name: str | None,
    no_progress: bool,
    runs_dir: str,
    where: Where,
) -> None:
    """Train RUN's fittest genome from scratch until it stops improving, and save the model.

    The model of the epoch that is best on the validation split becomes trained.safetensors in RUN's
    directory. Repeat the command to resume an interrupted training.
    """
    directory = directory_of(run, runs_dir)
    history = open_run(directory).view.history
    name = run_name or f"{history.config.run.name}-trained"
    config = training.training_config(history, name, patience, max_epochs)
    alone = dataclasses.replace(where, workers=1)  # there is one member
    with client_of(alone, str(directory.parent), config) as client:
        place = client.runs_dir / name
        if trained := submit_new(client, config):
            follow(trained, client, no_progress)
            show_end(trained, place)
        else:
            refuse_another(client.run(name), config)
            resume_or_follow(client, name, no_progress)
    program = history.config.workload.command is not None
    out = directory / f"trained{'.checkpoint' if program else '.safetensors'}"
    path, what = exporting.export(place, out)
    console.print(f"{path}: {what}", soft_wrap=True)


@click.command()
@config_argument
@click.option(
    "--arms",
    metavar="A,B,...",
    default=",".join(comparison.DEFAULT_ARMS),
    show_default=True,
    help=f"Ways to search; also {', '.join(comparison.ABLATIONS)}, and the config's compare.arms.",
)
@click.option(
    "--seeds",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    help="Number of runs of each arm.",
)
@overrides_option
@click.option("--run-name", metavar="NAME", help="The same as --set run.name=NAME.")
@click.option("--json", "as_json", is_flag=True, help="Print comparison.json; progress goes to stderr.")
@no_progress_option
@in_runs_dir
@on_cluster
def compare(
    config_path: str,
    arms: str,
    seeds: int,
    overrides: tuple[str, ...],
    run_name: str | None,
    as_json: bool,
    no_progress: bool,
    runs_dir: str,
    where: Where,
) -> None:
    """Compare several ways to search on the same epochs, validation data and final test.

    Each arm and seed is a separate run. Repeat the command to resume an interrupted comparison.
    """
    config = load_config(config_path, overrides, run_name, None)
    planned = comparison.plan(config, [arm.strip() for arm in arms.split(",")], seeds)
    with only_json(as_json):
        place, failures = _run_all(config, planned, Path(runs_dir), where, no_progress)
    paths = comparison.write(config, planned, place)
    histories = comparison.finished(planned, place)
    if as_json:
        print(comparison_json(config, histories))
    elif paths:
        tables, verdict = conclusion(config, histories)
        for table in tables:
            console.print(display.table(*table))
            console.print()
        if verdict:
            console.print(verdict, soft_wrap=True)
        for path in paths:
            console.print(str(path), soft_wrap=True)
    if failures:
        raise RunFailed("the comparison is not complete; " + "\n  ".join(failures))


def _run_all(
    config: RunConfig, planned: Sequence[comparison.Planned], runs_dir: Path, where: Where, no_progress: bool
) -> tuple[Path, list[str]]:
    """Bring the runs of a comparison to their ends.

    Return the directory that they are in, and the reason for each that failed.
    """
    if not where.exists and comparison.all_done(planned, runs_dir):
        return runs_dir, []
    with client_of(where, str(runs_dir), config, runs=len(planned)) as client:
        statuses = heeding_interrupts(comparison.carry_out(client, config, planned))
        try:
            last = display.show_all(statuses, len(planned), client.dashboard, console, no_progress)
        except KeyboardInterrupt:
            console.print("\ninterrupted; repeat the command to resume the comparison")
            raise
        return client.runs_dir, [f"{one.name}: {one.message}" for one in last if one.state != "done"]


@click.command()
@run_argument
@click.option("--repair", is_flag=True, help="Recreate damaged checkpoints by training their members again.")
@click.option(
    "--accept", is_flag=True, help="With --repair: accept parameters that differ from the original ones."
)
@in_runs_dir
@on_cluster
def verify(run: str, repair: bool, accept: bool, runs_dir: str, where: Where) -> None:
    """Check each record and checkpoint of RUN; --repair recreates damaged checkpoints.

    Checkpoints that a run or `evodevo prune` deleted because nothing needs them do not count as damage.
    """
    if accept and not repair:
        raise UsageError("--accept changes what --repair does; give both, or neither")
    directory = directory_of(run, runs_dir)
    found = verifying.verify(directory)
    for line in [*found.problems, *found.notes]:
        console.print(line, soft_wrap=True)
    console.print(
        f"{found.records} records and {found.checkpoints} checkpoints, {len(found.problems)} damaged"
    )
    left = len(found.problems) - len(found.damaged)
    if not repair or found.history is None:
        left = len(found.problems)
    elif found.damaged:
        left += repaired(directory, found.history.config, where, accept)
    if left:
        hint = "" if repair or not found.damaged else "; --repair makes checkpoints again"
        raise RunFailed(f"run {directory.name} is damaged{hint}")


def repaired(directory: Path, config: RunConfig, where: Where, accept: bool = False) -> int:
    """Recreate the damaged checkpoints of a run; return how many could not be recreated."""
    with client_of(where, str(directory.parent), config) as client:
        done = client.run(directory.name).repair(accept)
    for line in done["problems"]:
        console.print(line, soft_wrap=True)
    console.print(f"{done['account'] or 'nothing was repaired'} ({done['seconds']:.1f} s)")
    return len(done["problems"])
