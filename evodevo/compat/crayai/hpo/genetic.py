"""Define `hpo.genetic.Optimizer`: the method of Vose et al. 2019, by the strategy `vose2019`."""

import math
from pathlib import Path
from typing import Any

from evodevo.compat.crayai.hpo import optimizer
from evodevo.compat.crayai.hpo.evaluator import Evaluator
from evodevo.compat.crayai.hpo.log import SIGMA, Log, expressed, tag_of
from evodevo.compat.crayai.hpo.params import Params
from evodevo.compat.crayai.hpo.refusals import check_count, check_number, check_path, refuse, refuse_unknown
from evodevo.evolution.fitness import is_usable
from evodevo.run.history import History

RULE = optimizer.RULE


class Optimizer(optimizer.Optimizer):
    """A genetic search; with `@checkpoint` in the command it is population-based training.

    pop_size: members per deme. Demes are not isolated: they form one population of `num_demes * pop_size`, so
        `migration_interval` has no effect; logs list each deme's share of it.
    mutation_rate, crossover_rate: probabilities per hyperparameter.
    log_fn: a file with one row per generation; see `hpo.log.Log`.

    Raises `UsageError`, naming the keyword, for anything that is not supported.
    """

    kind = "genetic"

    def __init__(
        self,
        evaluator: Evaluator,
        generations: int = 10,
        num_demes: int = 1,
        pop_size: int = 10,
        mutation_rate: float = 0.05,
        crossover_rate: float = 0.33,
        migration_interval: int = 5,
        log_fn: str | Path = "",
        verbose: bool = False,
        gens_per_epoch: int = 1,
        seed: int = 0,
        **unknown: Any,
    ) -> None:
        call, given = "GeneticOptimizer", {key: value for key, value in locals().items() if key != "self"}
        refuse_unknown(call, unknown, {key: 0 for key in given if key != "unknown"})
        if check_count(call, "gens_per_epoch", gens_per_epoch) > 1:
            why = "each generation continues training from its parents; train less in the command"
            refuse(call, "gens_per_epoch", gens_per_epoch, why)
        self.generations = check_count(call, "generations", generations)
        self.num_demes = check_count(call, "num_demes", num_demes)
        self.pop_size = check_count(call, "pop_size", pop_size)
        check_count(call, "migration_interval", migration_interval, 0)
        self.mutation_rate = check_number(call, "mutation_rate", mutation_rate)
        self.crossover_rate = check_number(call, "crossover_rate", crossover_rate)
        self.log_fn = Path(path) if (path := check_path(call, "log_fn", log_fn)) else None
        self._log: Log | None = None
        self._told = 0
        super().__init__(evaluator, check_count(call, "seed", seed, 0), verbose)

    def search(self, params: Params) -> dict[str, Any]:
        return {
            "strategy": "vose2019",
            "inherit": "parameters" if self.evaluator.trains_on else "none",
            "population": self.num_demes * self.pop_size,
            "generations": self.generations,
            "options": {
                "mutation_rate": self.mutation_rate,
                "crossover_rate": self.crossover_rate,
                "sigma": SIGMA,
            },
        }

    def optimize(self, params: Params) -> None:
        if self.verbose:
            print(self._settings(params), flush=True)
        if isinstance(params, Params) and self.log_fn:
            self._log = Log(self.log_fn, self.num_demes, self.pop_size, params)
        self._told = 0
        super().optimize(params)

    def tell(self, history: History, params: Params) -> None:
        """Log the generations that have become complete."""
        done = history.completed()
        for generation in range(self._told, done):
            self._tell_of(history, generation, params)
        self._told = max(self._told, done)

    def _tell_of(self, history: History, generation: int, params: Params) -> None:
        until = [life for life in history.lives() if life.generation <= generation]
        good = [life for life in until if is_usable(life.fom)]
        own = [life for life in good if life.generation == generation]
        if not good:
            return
        best = min(good, key=lambda life: float(life.fom or 0.0))
        average = sum(life.fom or 0.0 for life in own) / len(own) if own else math.nan
        if self._log:
            self._log.add(history, generation, best, average)
        if not self.verbose:
            return
        values = params.by_flag(expressed(history, best))
        fom = best.fom or 0.0
        gain = optimizer.gain_of(history, fom)
        lines = [
            RULE,
            f"Generation: {generation}",
            f"Global Best: {tag_of(best, self.pop_size):<18}{fom:.6e}{gain} [{average:.3e} avg]",
            "Best hyperparameters:",
            *(f"{flag}:  {value}" for flag, value in values.items()),
        ]
        print("\n".join(lines), flush=True)

    def _settings(self, params: Params) -> str:
        about = {
            "generations": self.generations,
            "num_demes": self.num_demes,
            "pop_size": self.pop_size,
            "mutation_rate": self.mutation_rate,
            "crossover_rate": self.crossover_rate,
            "seed": self.seed,
        }
        lines = [RULE, "Optimizer Settings:", *(f"{f'{key}:':<20}{value}" for key, value in about.items())]
        if self.num_demes > 1:
            size = self.num_demes * self.pop_size
            lines.append(f"The {self.num_demes} demes form one population of {size}, without migration.")
        return "\n".join(lines)
