"""Define `Evaluator`: how to run a driver script's command."""

import os
import shlex
from pathlib import Path
from typing import Any

from evodevo.compat.crayai.hpo.params import Params
from evodevo.compat.crayai.hpo.refusals import check_count, check_number, check_path, refuse, refuse_unknown
from evodevo.errors import UsageError
from evodevo.service.client import Client

CHECKPOINT = "@checkpoint"
SCRIPT = """set -e
command=$1 source=$2 directory=$3 begin=$4 checkpoint=$5
shift 5
if [ -n "$checkpoint" ]; then mkdir -p "$checkpoint"; fi
if [ -n "$begin" ]; then cp -R "$begin"/. "$checkpoint"; fi
if [ -n "$source" ]; then cp -R "$source" "$directory"; cd "$directory"; fi
eval "$command \\"\\$@\\""
"""
"""Shell script that runs a command like crayai: in a copy of its sources, with a checkpoint directory that
contains the parent's checkpoint."""
SLURM = ("wlm", "slurm")
LOCAL = (None, "", "local")


class Evaluator:
    """A program that runs once per set of hyperparameters; the `FoM: <number>` that it prints is minimised.

    command: a shell command, to which the flags are appended. `@checkpoint` in it stands for a directory that
        contains the parent's checkpoint when the program starts, and is kept when it ends (population-based
        training) in the directory `checkpoint`.
    src_path: a directory that is copied for each evaluation, which runs in the copy.
    run_path: the directory for runs, each with its journal, history.csv and report.
    nodes, nodes_per_eval, num_parallel_evals, launcher, workload_manager, alloc_args: see docs/search.md.
    timeout: time limit of an evaluation in seconds.
    client: a client of an existing cluster, from `evodevo.connect` or `evodevo.local`; crayai has no such
        keyword.

    Raises `UsageError`, naming the keyword, for anything that is not supported.
    """

    def __init__(
        self,
        command: str,
        run_path: str | Path = "run",
        src_path: str | Path = "",
        nodes: int = 1,
        launcher: str | None = None,
        verbose: bool = False,
        nodes_per_eval: int = 1,
        checkpoint: str | Path = "",
        fom: str = "FoM: ",
        alloc_args: str = "",
        alloc_jobid: int | str | None = None,
        launch_args: str = "",
        urika_args: str = "",
        workload_manager: str | None = None,
        num_parallel_evals: int | None = None,
        timeout: float | None = None,
        client: Client | None = None,
        **unknown: Any,
    ) -> None:
        call, given = "Evaluator", {key: value for key, value in locals().items() if key != "self"}
        refuse_unknown(call, unknown, {key: value for key, value in given.items() if key != "unknown"})
        if not isinstance(command, str) or not command.strip():
            raise UsageError(f"Evaluator: command is {command!r}; give a shell command")
        self.on_slurm = launcher in SLURM or workload_manager in SLURM
        for name, value in (("launcher", launcher), ("workload_manager", workload_manager)):
            if value not in (*SLURM, *LOCAL):
                refuse(call, name, value, "give 'local' for this machine, or 'wlm' or 'slurm' for Slurm jobs")
        if check_count(call, "nodes_per_eval", nodes_per_eval) > 1:
            why = "an evaluation has one worker; start its ranks in the command, with srun or mpirun"
            refuse(call, "nodes_per_eval", nodes_per_eval, why)
        if alloc_jobid:
            why = (
                "start a Dask scheduler and workers in the allocation (scripts/slurm/evodevo.sbatch does), "
                "and give client=evodevo.connect(...)"
            )
            refuse(call, "alloc_jobid", alloc_jobid, why)
        for name, value in (("launch_args", launch_args), ("urika_args", urika_args)):
            if value:
                refuse(
                    call, name, value, "workers start the command themselves; add the launcher to the command"
                )
        if str(fom).strip() != "FoM:":
            refuse(call, "fom", fom, "print the result as 'FoM: <number>'")
        run_path, src_path = check_path(call, "run_path", run_path), check_path(call, "src_path", src_path)
        checkpoint = check_path(call, "checkpoint", checkpoint)
        if src_path and not Path(src_path).is_dir():
            raise UsageError(f"Evaluator: src_path {str(src_path)!r} is not a directory")
        self.command = command
        self.run_path = Path(run_path)
        self.src_path = str(Path(src_path).absolute()) if src_path else ""
        self.nodes = check_count(call, "nodes", nodes)
        self.num_parallel_evals = num_parallel_evals and check_count(
            call, "num_parallel_evals", num_parallel_evals
        )
        self.verbose = verbose
        self.checkpoint = os.path.abspath(checkpoint) if checkpoint else ""
        self.alloc_args = alloc_args
        self.timeout = None if timeout is None else check_number(call, "timeout", timeout)
        self.client = client

    @property
    def trains_on(self) -> bool:
        """Whether evaluations start from their parent's checkpoint (population-based training)."""
        return CHECKPOINT in self.command

    @property
    def workers(self) -> int | None:
        """Number of evaluations at the same time; None for one per core."""
        return self.num_parallel_evals or (self.nodes if self.nodes > 1 else None)

    def arguments(self, params: Params) -> list[str]:
        """Return the value of a config's `workload.command`."""
        command = self.command.replace(CHECKPOINT, '"$checkpoint"')
        kept = ["{checkpoint_in}", "{checkpoint_out}"] if self.trains_on else ["", ""]
        literal = (text.replace("{", "{{").replace("}", "}}") for text in (command, self.src_path))
        flags = [argument for param in params for argument in param.arguments]
        return ["sh", "-c", SCRIPT, "evaluate", *literal, "{epoch_dir}/source", *kept, *flags]

    def cluster(self) -> dict[str, Any]:
        """Return the section `cluster` of a config. Raises `UsageError`."""
        if not self.on_slurm:
            return {}
        slurm: dict[str, Any] = {"max_workers": self.workers or 1, "gpus": 0, "directives": []}
        try:
            words = shlex.split(self.alloc_args or "")
        except ValueError as why:
            raise UsageError(f"Evaluator: alloc_args are {self.alloc_args!r}: {why}") from None
        while words:
            word, value = words.pop(0), None
            if word.startswith("--") and "=" in word:
                word, _, value = word.partition("=")
            elif words and not words[0].startswith("-"):
                value = words.pop(0)
            if word in ("-t", "--time") and value:
                slurm["walltime"] = value
            elif word in ("-c", "--cpus-per-task") and value:
                if not value.isdecimal():
                    raise UsageError(f"Evaluator: {word} {value} in alloc_args should be a whole number")
                slurm["cpus"] = int(value)
            elif word in ("-p", "--partition") and value:
                slurm["partition"] = value
            elif word in ("-A", "--account") and value:
                slurm["account"] = value
            elif value is None:
                slurm["directives"].append(word)
            else:
                slurm["directives"].append(f"{word}={value}" if word.startswith("--") else f"{word} {value}")
        return {"slurm": slurm}
