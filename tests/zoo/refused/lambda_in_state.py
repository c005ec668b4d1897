"""A function in a state."""

from tests.workers.toys import Toy

MESSAGE = ("rule.f is a builtins.function", "numbers, texts, tensors")


class Rule:
    def state_dict(self):
        return {"f": lambda value: value}

    def load_state_dict(self, state):
        pass


class Net(Toy):
    def setup(self, training):
        training.rule = Rule()
