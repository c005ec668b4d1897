"""Forward passes in bfloat16."""

import torch

from tests.workers.toys import Toy


class Net(Toy):
    autocast = torch.bfloat16
