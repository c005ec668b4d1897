"""Two groups with different settings."""

import torch

from tests.workers.toys import Toy


class Net(Toy):
    def optimizer(self, model, hp):
        matrices = [p for p in model.parameters() if p.ndim > 1]
        vectors = [p for p in model.parameters() if p.ndim < 2]
        return torch.optim.AdamW(
            [
                {"params": vectors, "weight_decay": 0.0, "lr": 2 * hp["learning_rate"]},
                {"params": matrices, "betas": (hp["momentum"], 0.99)},
            ],
            lr=hp["learning_rate"],
        )
