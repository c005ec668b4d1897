"""The command of the command line about machines, rather than runs."""

import json
from pathlib import Path

import click

from evodevo.cli_common import Where, at_scheduler, console, in_runs_dir
from evodevo.errors import RunFailed, UsageError
from evodevo.service import doctor as look

MARKS = {"good": "ok   ", "note": "note ", "fault": "FAULT"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a list of findings.")
@in_runs_dir
@at_scheduler
def doctor(as_json: bool, runs_dir: str, where: Where) -> None:
    """Say what this machine has for a run, and what to do about what it lacks.

    Exit status 0 if a run can work here, 1 if something has to be mended first.
    """
    findings = [*look.examine(Path(runs_dir)), *(_of_cluster(where) if where.exists else ())]
    if as_json:
        print(json.dumps([look.as_json(finding) for finding in findings], indent=2))
    else:
        for one in findings:
            advice = f" -> {one.advice}" if one.advice else ""
            console.print(f"{MARKS[one.state]} {one.topic}: {one.found}{advice}", soft_wrap=True)
    if faults := [one.topic for one in findings if one.state == "fault"]:
        raise RunFailed(f"a run cannot work here until this is mended: {', '.join(faults)}")


def _of_cluster(where: Where) -> list[look.Finding]:
    try:
        with where.connect() as client:
            return list(look.cluster(client))
    except UsageError as why:
        return [look.Finding("scheduler", str(why), "fault")]
