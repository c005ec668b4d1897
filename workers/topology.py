"""Layers whose sizes are hyperparameters, padded and initialised as in TensorFlow and Keras."""

from torch import nn


def same_convolution(channels: int, filters: int, kernel: int) -> list[nn.Module]:
    """Return the layers of a convolution with stride 1 whose output is as large as its input.

    An even kernel is padded by one more row and column at the end than at the beginning, as in TensorFlow's
    `SAME`.
    """
    before, after = (kernel - 1) // 2, kernel // 2
    if before == after:
        return [nn.Conv2d(channels, filters, kernel, padding=before)]
    return [nn.ZeroPad2d((before, after, before, after)), nn.Conv2d(channels, filters, kernel)]


def draw_as_keras(layer: nn.Module) -> None:
    """Draw the parameters of a layer from Glorot's uniform distribution, and set biases to zero."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def draw_as_tutorial(layer: nn.Module) -> None:
    """Draw the parameters of a layer as TensorFlow's MNIST tutorial for experts does.

    Weights are normal with standard deviation 0.1, truncated at two deviations; biases are 0.1.
    """
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(layer.weight, std=0.1, a=-0.2, b=0.2)
        if layer.bias is not None:
            nn.init.constant_(layer.bias, 0.1)
