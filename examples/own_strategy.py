"""A strategy of one's own: whoever is worse than the median goes on from the best, with values near its own.

python -m examples.own_strategy  # its run is in checkpoints/; delete it to run again

First it is tried in this process: the contract of all strategies, and a run with a function to train.
docs/strategies.md has an example with everything that a strategy can have.
"""

import evodevo
from evodevo import Birth, Strategy
from evodevo.testing import check_strategy, simulate


class FollowTheBest(Strategy):
    paces = ("generations", "pools", "steady")  # the first is its default

    def birth(self, generation, slot, parents, own):
        """`parents` are evaluated members of the generation before; `own` is the predecessor's position."""
        best, mine = parents.members[parents.ranking[0]], parents.members[own]
        if parents.survives(own) and 2 * parents.rank(own) < len(parents.members):
            return Birth(mine.birth.genome, parent_a=mine.id, parent_params=mine.id)
        draw = self.stream(generation, slot, "near")  # a named stream: the same whenever it is asked
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
    print(f"the bottom of a bowl, simulated: {found.best.fom:.4f} at {dict(found.best.hyperparameters)}")
    with evodevo.local(workers=2) as client:
        run = client.submit(CONFIG)
        run.wait()
        print(f"validation loss {run.best.fom:.4f}, hyperparameters {dict(run.best.hyperparameters)}")
