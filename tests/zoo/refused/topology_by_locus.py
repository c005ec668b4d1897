"""A locus decides the width, so that a child cannot take over what its parent learned."""

from torch import nn

from tests.workers.toys import Toy

MESSAGE = ("0.weight", "load_state_dict", "hyperparameters")
FOUNDERS = (
    {"learning_rate": 0.1, "momentum": 0.5, "width": 4},
    {"learning_rate": 0.1, "momentum": 0.5, "width": 6},
)


class Net(Toy):
    def model_of(self, hp):
        return nn.Sequential(nn.Linear(4, hp["width"]), nn.Linear(hp["width"], 3))
