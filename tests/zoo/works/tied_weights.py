"""Two layers have one weight."""

from torch import nn

from tests.workers.toys import Toy


class Net(Toy):
    def model(self):
        model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 3))
        model[2].weight = model[0].weight
        return model
