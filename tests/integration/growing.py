"""Networks that grow on made images, for tests of whole runs. Workers import it as `growing:Growing`."""

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from workers.workload import Batch, Splits, Training
from workers.workloads.growing_cnn import GrowingCNN


class Growing(GrowingCNN):
    """Bands of ten colours with noise. `pause_s`: how long each epoch sleeps before it trains."""

    def __init__(self, pause_s: float = 0.0) -> None:
        super().__init__(batch_size=16, pixels=16)
        self.pause_s = pause_s

    def data(self, root: str | None) -> Splits:
        return Splits(_images(64, 0), _images(48, 1), _images(32, 2))

    def train_batches(self, training: Training) -> Iterator[Batch]:
        time.sleep(self.pause_s)
        yield from super().train_batches(training)


def _images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 10
    palette = torch.randint(0, 256, (10, 3, 1, 1), generator=torch.Generator().manual_seed(9))
    noise = torch.randint(-60, 61, (count, 3, 16, 16), generator=generator)
    return (palette[labels] + noise).clamp(0, 255).to(torch.uint8), labels
