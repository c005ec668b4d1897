"""The package prodigyopt."""

import prodigyopt

from tests.workers.toys import Toy

FOUNDERS = ({"learning_rate": 1.0, "decay": 0.0}, {"learning_rate": 0.5, "decay": 0.01})


class Net(Toy):
    def optimizer(self, model, hp):
        return prodigyopt.Prodigy(
            model.parameters(),
            lr=hp["learning_rate"],
            weight_decay=hp["decay"],
            safeguard_warmup=True,
            use_bias_correction=True,
            d0=1e-3,
        )
