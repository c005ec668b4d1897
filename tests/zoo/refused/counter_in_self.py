"""The workload counts batches, and the loss goes by that much later."""

from tests.workers.toys import Toy

MESSAGE = ("self.calls of the workload changed", "setup(training)")


class Net(Toy):
    calls = 0

    def __init__(self):
        super().__init__()
        self.calls = 0

    def loss(self, model, batch, hp):
        self.calls += 1
        return super().loss(model, batch, hp) * (2 if self.calls > 1000 else 1)
