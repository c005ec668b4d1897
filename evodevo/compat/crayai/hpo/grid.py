"""Define `hpo.grid.Optimizer`: evaluate the initial values and every point of a grid."""

from typing import Any

from evodevo.compat.crayai.hpo import optimizer
from evodevo.compat.crayai.hpo.chunks import Chunks
from evodevo.compat.crayai.hpo.evaluator import Evaluator
from evodevo.compat.crayai.hpo.params import Params
from evodevo.compat.crayai.hpo.points import MOST_POINTS, count_of
from evodevo.compat.crayai.hpo.refusals import check_count, refuse_unknown
from evodevo.config_search import Search
from evodevo.errors import UsageError
from evodevo.evolution.space import Space
from evodevo.run.history import History

POINTS = "evodevo.compat.crayai.hpo.points:Points"


class Optimizer(optimizer.Optimizer):
    """A grid search with `grid_size` points along each range, and all choices.

    chunk_size: points between lines of progress. Raises `UsageError`, naming the keyword, for anything that
    is not supported.
    """

    kind = "grid"

    def __init__(
        self,
        evaluator: Evaluator,
        grid_size: int = 5,
        chunk_size: int = 50,
        verbose: bool = False,
        **unknown: Any,
    ) -> None:
        known = {"evaluator": 0, "grid_size": 0, "chunk_size": 0, "verbose": 0}
        refuse_unknown("GridOptimizer", unknown, known)
        self.grid_size = check_count("GridOptimizer", "grid_size", grid_size)
        if grid_size > MOST_POINTS:
            raise UsageError(f"GridOptimizer: grid_size is {grid_size}; give at most {MOST_POINTS}")
        self._chunks = Chunks(check_count("GridOptimizer", "chunk_size", chunk_size))
        super().__init__(evaluator, 1, verbose)

    def search(self, params: Params) -> dict[str, Any]:
        options = {"grid_size": self.grid_size}
        whole = {"strategy": POINTS, "inherit": "none", "generations": 1, "options": options}
        space = Search.model_validate({**whole, "population": 1, "loci": params.loci}).loci
        points = 1 + count_of(Space(space), self.grid_size)
        if points > MOST_POINTS:
            raise UsageError(
                f"GridOptimizer: a grid of grid_size {self.grid_size} has {points} points, more than "
                f"{MOST_POINTS}; give a smaller one, or use RandomOptimizer"
            )
        return {**whole, "population": points}

    def tell(self, history: History, params: Params) -> None:
        if self.verbose:
            self._chunks.tell(history)
