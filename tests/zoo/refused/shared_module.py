"""A model that is made once, in `__init__`."""

from torch import nn

from tests.workers.toys import Toy

MESSAGE = ("two members share model.weight", "create it in model()")


class Net(Toy):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 3)

    def model(self):
        return self.net
