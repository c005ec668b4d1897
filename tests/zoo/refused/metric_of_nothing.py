"""A metric that is None."""

from tests.workers.toys import Toy

MESSAGE = ("metric 'accuracy'", "one number", "NoneType")


class Net(Toy):
    def metrics(self, model, batch):
        return {**super().metrics(model, batch), "accuracy": None}
