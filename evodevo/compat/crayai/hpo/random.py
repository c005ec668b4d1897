"""Define `hpo.random.Optimizer`: evaluate the initial values and uniformly random points."""

from typing import Any

from evodevo.compat.crayai.hpo import optimizer
from evodevo.compat.crayai.hpo.chunks import Chunks
from evodevo.compat.crayai.hpo.evaluator import Evaluator
from evodevo.compat.crayai.hpo.grid import POINTS
from evodevo.compat.crayai.hpo.params import Params
from evodevo.compat.crayai.hpo.refusals import check_count, refuse_unknown
from evodevo.run.history import History


class Optimizer(optimizer.Optimizer):
    """A random search of `num_iters` points (formerly `numIters`), the first of which has the initial values.

    `seed`: 0 for a different one each time. Raises `UsageError`, naming the keyword, for anything that is not
    supported.
    """

    kind = "random"

    def __init__(
        self,
        evaluator: Evaluator,
        num_iters: int = 100,
        seed: int = 0,
        verbose: bool = False,
        numIters: int | None = None,  # noqa: N803
        **unknown: Any,
    ) -> None:
        known = {"evaluator": 0, "num_iters": 0, "seed": 0, "verbose": 0}
        refuse_unknown("RandomOptimizer", unknown, known)
        count = num_iters if numIters is None else numIters
        self.num_iters = check_count("RandomOptimizer", "num_iters", count)
        self._chunks = Chunks(max(1, self.num_iters // 10))
        super().__init__(evaluator, check_count("RandomOptimizer", "seed", seed, 0), verbose)

    def search(self, params: Params) -> dict[str, Any]:
        return {"strategy": POINTS, "inherit": "none", "population": self.num_iters, "generations": 1}

    def tell(self, history: History, params: Params) -> None:
        if self.verbose:
            self._chunks.tell(history)
