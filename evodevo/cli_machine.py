"""The command about the machine rather than a run; `cli` lists it."""

import json
from pathlib import Path

import click

from evodevo.cli_common import Where, at_scheduler, console, in_runs_dir
from evodevo.errors import RunFailed, UsageError
from evodevo.service import doctor as look

MARKS = {"good": "ok   ", "note": "note ", "fault": "FAULT"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of findings.")
@in_runs_dir
@at_scheduler
def doctor(as_json: bool, runs_dir: str, where: Where) -> None:
    """Check whether runs can work on this machine, and say what to do if not.

    The exit status is 0 if they can, and 1 if something has to be fixed first.
    """
    findings = [*look.examine(Path(runs_dir)), *(_of_cluster(where) if where.exists else ())]
    if as_json:
        print(json.dumps([look.as_json(finding) for finding in findings], indent=2))
    else:
        for one in findings:
            advice = f" -> {one.advice}" if one.advice else ""
            console.print(f"{MARKS[one.state]} {one.topic}: {one.found}{advice}", soft_wrap=True)
    if faults := [one.topic for one in findings if one.state == "fault"]:
        raise RunFailed(f"runs cannot work here until this is fixed: {', '.join(faults)}")


def _of_cluster(where: Where) -> list[look.Finding]:
    try:
        with where.connect() as client:
            return list(look.cluster(client))
    except UsageError as why:
        return [look.Finding("scheduler", str(why), "fault")]
