"""Draw a network of blocks for the report of the run that found it."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

DPI = 110
HEIGHT, STEP = 0.62, 1.0
"""Height of a box, and distance from one to the next, in inches."""
COLOURS = {"end": "#e7e5e4", "convolution": "#dbeafe", "pooling": "#fef3c7", "skip": "#dcfce7"}


def drawn(blocks: Sequence[Mapping[str, Any]], activation: str, pixels: int, parameters: int) -> bytes:
    """Return a PNG of the layers from top to bottom, each block framed and with its skip beside it."""
    places = sum(1 + block["layer_b"] + block["pool"] for block in blocks) + 3
    figure = Figure(figsize=(6.2, 0.6 + STEP * places), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlim(0, 6)
    axes.set_ylim(-places * STEP, 0.4)
    axes.axis("off")
    axes.set_title(
        f"{len(blocks)} blocks, {activation.replace('_', ' ')}, {parameters:,} parameters", loc="left"
    )
    at = _box(axes, 0.0, f"images of {pixels} x {pixels}", "end")
    size = pixels
    for number, block in enumerate(blocks, 1):
        top = at
        at = _convolution(axes, at, block, "a")
        if block["layer_b"]:
            at = _convolution(axes, at, block, "b")
        if block["skip"]:
            _skip(axes, top, at)
        if block["pool"] and size > 1:
            size //= 2
            at = _box(axes, at, f"{block['pooling']} pooling to {size} x {size}", "pooling")
        axes.add_patch(_frame(top - 0.14, at + 0.24))
        axes.text(0.12, (top + at) / 2, f"block {number}", rotation=90, va="center", ha="left", fontsize=9)
    at = _box(axes, at, "mean of each channel", "pooling")
    _box(axes, at, "dense layer, 10 classes", "end")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI)
    return out.getvalue()


def _convolution(axes: Axes, at: float, block: Mapping[str, Any], name: str) -> float:
    kernel, channels = block[f"kernel_{name}"], block[f"channels_{name}"]
    norm = ", batch norm" if block[f"norm_{name}"] else ""
    return _box(axes, at, f"{kernel} x {kernel} convolution, {channels} channels{norm}", "convolution")


def _box(axes: Axes, at: float, text: str, kind: str) -> float:
    """Draw a box below `at`, with an arrow to it unless it is the first; return where the next one goes."""
    if at < 0:
        axes.add_patch(
            FancyArrowPatch((2.7, at + STEP - HEIGHT), (2.7, at), arrowstyle="-|>", mutation_scale=9)
        )
    frame = FancyBboxPatch(
        (0.6, at - HEIGHT), 4.2, HEIGHT, boxstyle="round,pad=0,rounding_size=0.08",
        facecolor=COLOURS[kind], edgecolor="#57534e", lw=0.8,
    )  # fmt: skip
    axes.add_patch(frame)
    axes.text(2.7, at - HEIGHT / 2, text, ha="center", va="center", fontsize=9)
    return at - STEP


def _skip(axes: Axes, top: float, at: float) -> None:
    """Draw the convolution past the layers between `top` and `at`."""
    begin, end = top + (STEP - HEIGHT) / 2, at + (STEP - HEIGHT) / 2
    axes.plot([2.7, 5.3, 5.3, 2.7], [begin, begin, end, end], color="#15803d", lw=1.2)
    axes.text(
        5.3, (begin + end) / 2, "1 x 1", ha="center", va="center", fontsize=8,
        bbox={"facecolor": COLOURS["skip"], "edgecolor": "#15803d", "boxstyle": "round"},
    )  # fmt: skip


def _frame(top: float, bottom: float) -> FancyBboxPatch:
    return FancyBboxPatch(
        (0.4, bottom), 4.6, top - bottom + 0.22, boxstyle="round,pad=0,rounding_size=0.1",
        facecolor="none", edgecolor="#a8a29e", lw=0.8, ls="--",
    )  # fmt: skip
