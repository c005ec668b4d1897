"""One layer of the model is made at the module's top."""

from torch import nn

from tests.workers.toys import Toy

MESSAGE = ("two members share model.0.weight", "create it in model()")
SHARED = nn.Linear(4, 4)


class Net(Toy):
    def model(self):
        return nn.Sequential(SHARED, nn.Linear(4, 3))
