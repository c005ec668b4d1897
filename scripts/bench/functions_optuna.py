"""Optuna's searches over the test functions: `python functions_optuna.py` reads tasks and prints results.

functions.py runs this with the Python of an environment that has Optuna. Each line of standard input is a
task; each line of standard output is its result, the best value after each number of evaluations. Samplers
have their default settings.
"""

import json
import sys
import warnings

import optuna
from function_suite import CASES, NAMES, Moved

SAMPLERS = {
    "optuna_tpe": optuna.samplers.TPESampler,
    "optuna_cma": optuna.samplers.CmaEsSampler,
}


def search(task: dict[str, int | str], marks: list[int]) -> list[float]:
    """Return the best value after each number of evaluations of `marks`."""
    name, seed = str(task["function"]), int(task["seed"])
    function, half = Moved(name, seed), CASES[name].half
    study = optuna.create_study(sampler=SAMPLERS[str(task["search"])](seed=seed))

    def objective(trial: optuna.Trial) -> float:
        return function(**{at: trial.suggest_float(at, -half, half) for at in NAMES})

    study.optimize(objective, n_trials=max(marks))
    values = [float(trial.value) for trial in study.trials if trial.value is not None]
    return [min(values[:mark]) for mark in marks]


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        task = json.loads(line)
        print(json.dumps({**task, "best": search(task, task["marks"])}), flush=True)
