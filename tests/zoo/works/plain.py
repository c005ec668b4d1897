"""Nothing special: dropout, and a loss that draws from every global generator."""

from tests.workers.toys import Toy


class Net(Toy):
    pass
