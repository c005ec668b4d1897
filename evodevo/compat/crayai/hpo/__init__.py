"""Provide the names that crayai driver scripts use.

from evodevo.compat.crayai import hpo

evaluator = hpo.Evaluator("python train.py --epochs 4", src_path="source")
params = hpo.Params([["--lr", 0.001, (1e-6, 0.1)], ["--optimizer", "Adam", ["Adam", "Nadam"]]])
optimizer = hpo.GeneticOptimizer(evaluator, generations=4, pop_size=8, log_fn="hpo.log")
optimizer.optimize(params)
print(optimizer.best_fom, optimizer.best_params)
"""

from evodevo.compat.crayai.hpo import genetic, grid, random
from evodevo.compat.crayai.hpo.evaluator import Evaluator
from evodevo.compat.crayai.hpo.genetic import Optimizer as GeneticOptimizer
from evodevo.compat.crayai.hpo.grid import Optimizer as GridOptimizer
from evodevo.compat.crayai.hpo.params import Params
from evodevo.compat.crayai.hpo.random import Optimizer as RandomOptimizer

__all__ = [
    "Evaluator",
    "GeneticOptimizer",
    "GridOptimizer",
    "Params",
    "RandomOptimizer",
    "genetic",
    "grid",
    "random",
]
