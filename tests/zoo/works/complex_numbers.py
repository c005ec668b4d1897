"""Complex parameters and buffers of both sizes, averaged as well."""

import torch
from torch import nn

from tests.workers.toys import Toy

FOUNDERS = ({"learning_rate": 0.05}, {"learning_rate": 0.02})


class Spectral(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, dtype=dtype))
        self.register_buffer("last", torch.zeros(3, dtype=dtype))

    def forward(self, inputs):
        spectrum = torch.fft.rfft(inputs.to(self.weight.real.dtype))
        if self.training:
            self.last = self.last * 0.5 + spectrum.detach().mean(0)
        return torch.fft.irfft(spectrum * self.weight + self.last, n=4).float()


class Net(Toy):
    average_half_life = 0.5

    def model(self):
        return nn.Sequential(Spectral(torch.complex64), Spectral(torch.complex128), nn.Linear(4, 3))

    def optimizer(self, model, hp):
        return torch.optim.Adam(model.parameters(), hp["learning_rate"])
