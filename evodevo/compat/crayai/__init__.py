"""Run crayai driver scripts with one changed import: `from evodevo.compat.crayai import hpo`."""

from evodevo.compat.crayai import hpo

__all__ = ["hpo"]
