"""Define a strategy in which members worse than the median continue from the best, with values near its own.

    python -m examples.own_strategy  # the run is saved in checkpoints/; delete it to run again

The strategy is first tested in this process, by the contract of all strategies and on a simple function.
docs/strategies.md has an example with all features of a strategy.
"""

import evodevo
from evodevo import Birth, Strategy
from evodevo.testing import check_strategy, simulate


class FollowTheBest(Strategy):
    paces = ("generations", "pools", "steady")  # the first is its default

    def birth(self, generation, slot, parents, own):
        """Return the birth of a member; `parents[own]` of the previous generation was in the same slot."""
        best, mine = parents.members[parents.ranking[0]], parents.members[own]
        if parents.survives(own) and 2 * parents.rank(own) < len(parents.members):
            return Birth(mine.birth.genome, parent_a=mine.id, parent_params=mine.id)
        draw = self.stream(generation, slot, "near")  # a named stream: always the same numbers
        return Birth(self.space.near(best.birth.genome, 0.1, draw), parent_a=best.id, parent_params=best.id)


CONFIG = {
    "run": {"name": "example-strategy"},
    "workload": {"use": "workers.workloads.lenet:LeNet"},
    "objective": {"metric": "validation_loss", "mode": "min"},
    "search": {
        "strategy": "examples.own_strategy:FollowTheBest",
        "population": 6,
        "generations": 4,
        "loci": {
            "learning_rate": {"type": "float", "low": 1e-3, "high": 1.0, "scale": "log", "initial": 0.05},
            "momentum": {"type": "float", "low": 0.0, "high": 0.99, "initial": 0.5},
        },
    },
}

if __name__ == "__main__":
    check_strategy(FollowTheBest)
    found = simulate(FollowTheBest, lambda x, y: (x - 1) ** 2 + y**2, {"x": (-5.0, 5.0), "y": (-5.0, 5.0)})
    print(f"simulated minimum of a bowl: {found.best.fom:.4f} at {dict(found.best.hyperparameters)}")
    with evodevo.local(workers=2) as client:
        run = client.submit(CONFIG)
        run.wait()
        print(f"validation loss {run.best.fom:.4f}, hyperparameters {dict(run.best.hyperparameters)}")
