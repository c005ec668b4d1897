"""Test a strategy: `simulate` a run without a cluster, and `check_strategy` against the contract.

Evodevo's own strategies are tested with these, too.
"""

from evodevo.testing.contract import RULES, BrokenRule, check_strategy
from evodevo.testing.simulated import Simulated, SimulatedMember, simulate

__all__ = ["RULES", "BrokenRule", "Simulated", "SimulatedMember", "check_strategy", "simulate"]
