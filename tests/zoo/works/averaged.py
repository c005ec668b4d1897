"""A moving average of parameters and buffers is evaluated."""

from tests.workers.toys import Toy


class Net(Toy):
    average_half_life = 0.7
