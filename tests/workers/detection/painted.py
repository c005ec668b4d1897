"""Images whose objects are rectangles of different colours, so that they can be identified."""

import torch
from torch import Tensor

from workers.data.detection import padded

HEIGHT, WIDTH = 96, 128


def paint(*images: list[list[float]]) -> tuple[Tensor, Tensor]:
    """uint8 (n, 3, 96, 128), black, and labels (n, most, 5). Classes are 0 to 5, each in its `colour`."""
    pixels = torch.zeros(len(images), 3, HEIGHT, WIDTH, dtype=torch.uint8)
    for number, boxes in enumerate(images):
        for left, top, right, bottom, kind in boxes:
            where = slice(int(top), int(bottom)), slice(int(left), int(right))
            pixels[number, :, *where] = (255 * colour(int(kind)))[:, None, None].byte()
    return pixels, padded([torch.tensor(boxes).reshape(-1, 5) for boxes in images])


def colour(kind: int) -> Tensor:
    """Corners of the cube but for black and grey's, so that mixtures with them are of no other class."""
    return torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]][kind])


def seen(image: Tensor, kind: int) -> list[float] | None:
    """The box around the pixels of float32 (3, height, width) that are that class' colour, more or less."""
    near = (image - colour(kind)[:, None, None]).abs().amax(0) < 0.5
    if not near.any():
        return None
    rows, columns = near.any(1).nonzero().flatten(), near.any(0).nonzero().flatten()
    return [float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1]
