"""A custom object in a layer's extra state."""

from torch import nn

from tests.workers.toys import Toy

MESSAGE = ("model.0._extra_state", "refused.object_in_extra_state.About", "numbers, texts, tensors")


class About:
    pass


class Layer(nn.Linear):
    def get_extra_state(self):
        return {"about": About()}

    def set_extra_state(self, state):
        pass


class Net(Toy):
    def model(self):
        return nn.Sequential(Layer(4, 3))
