"""The package schedulefree."""

import schedulefree

from tests.workers.toys import Toy

FOUNDERS = (
    {"learning_rate": 0.02, "decay": 0.0, "warm_up": 0},
    {"learning_rate": 0.05, "decay": 0.01, "warm_up": 5},
)


class Net(Toy):
    def optimizer(self, model, hp):
        return schedulefree.AdamWScheduleFree(
            model.parameters(), lr=hp["learning_rate"], weight_decay=hp["decay"], warmup_steps=hp["warm_up"]
        )
