"""Gradients no longer than a tenth."""

from tests.workers.toys import Toy


class Net(Toy):
    clip_norm = 0.1
