"""For tests of strategies of one's own: `simulate` is a run without a cluster, `check_strategy` the contract.

Every strategy of evodevo's own is tested with these.
"""

from evodevo.testing.contract import RULES, BrokenRule, check_strategy
from evodevo.testing.simulated import Simulated, SimulatedMember, simulate

__all__ = ["RULES", "BrokenRule", "Simulated", "SimulatedMember", "check_strategy", "simulate"]
