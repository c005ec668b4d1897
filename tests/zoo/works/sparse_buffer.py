"""A sparse buffer that changes, beside a moving average."""

import torch
from torch import nn

from tests.workers.toys import Toy


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("graph", torch.eye(4).to_sparse())
        self.register_buffer("rows", torch.eye(4).to_sparse_csr())

    def forward(self, inputs):
        if self.training:
            self.graph = (self.graph * 1.01).coalesce()
        return torch.sparse.mm(self.graph, inputs.T).T + (self.rows @ inputs.T).T


class Net(Toy):
    average_half_life = 0.5

    def model(self):
        return nn.Sequential(Mixing(), nn.Linear(4, 3))
