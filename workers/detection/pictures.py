"""Pictures for a detector's report: images with true and predicted boxes, and precision-recall curves."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from workers.detection.evaluation import Detections, Judged

COLUMNS = 3
DPI = 85


def boxes(
    images: Tensor, labels: Tensor, found: Detections, names: Sequence[str], confidence: float
) -> bytes:
    """Return a PNG of images uint8 (n, 3, height, width) with true boxes dashed and detections solid.

    labels: (n, most, 5). Detections below `confidence` are left out.
    """
    rows = -(-len(images) // COLUMNS)
    height, width = images.shape[2:]
    figure = Figure(figsize=(4.4 * COLUMNS, 0.5 + 4.4 * rows * height / width), layout="constrained")
    for number, image in enumerate(images.cpu()):
        axes = figure.add_subplot(rows, COLUMNS, number + 1)
        axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="bilinear")
        axes.axis("off")
        for *box, kind in labels[number].tolist():
            if kind >= 0:
                axes.add_patch(_rectangle(box, "black", "--", above=True))
        parts = (part[number].tolist() for part in (found.boxes, found.scores, found.classes))
        for box, score, kind in zip(*parts, strict=True):
            if score > 0 and score >= confidence:
                axes.add_patch(_rectangle(box, _colour(kind), "-"))
                axes.text(
                    box[0], box[1], f"{score:.2f}", fontsize=6, va="bottom", color="white", clip_on=True,
                    bbox={"facecolor": _colour(kind), "edgecolor": "none", "pad": 0.6},
                )  # fmt: skip
    handles = [_rectangle([0, 0, 1, 1], _colour(kind), "-") for kind in range(len(names))]
    truth = _rectangle([0, 0, 1, 1], "black", "--")
    title = f"validation images; detections of a confidence of {confidence:.2f} or more"
    figure.legend(
        [truth, *handles], ["true box", *names], loc="outside upper center", ncols=8, title=title, fontsize=9
    )
    return _png(figure)


def curves(judged: Judged, names: Sequence[str]) -> bytes:
    """Return a PNG of the precision-recall curve of each class, at an IoU of 0.5."""
    figure = Figure(figsize=(6.5, 5.2), layout="constrained")
    axes = figure.add_subplot()
    for kind, (name, curve) in enumerate(zip(names, judged.curves, strict=True)):
        if curve.min() >= 0:
            axes.plot(judged.recalls, curve, color=_colour(kind), label=f"{name}, AP {curve.mean():.3f}")
    counted = judged.curves[judged.curves.min(1) >= 0]
    if len(counted):
        label = f"mean, mAP {judged.map50:.3f}"
        axes.plot(judged.recalls, np.mean(counted, 0), color="black", linewidth=2, label=label)
        axes.legend(loc="lower left")
    axes.plot(judged.recall, judged.precision, "k*", markersize=9)
    axes.annotate(f"confidence {judged.confidence:.2f}", (judged.recall, judged.precision),
                  textcoords="offset points", xytext=(0, 9), ha="center", fontsize=8)  # fmt: skip
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.05),
             title="validation: precision and recall at an IoU of 0.5")  # fmt: skip
    axes.grid(alpha=0.3)
    return _png(figure)


def _rectangle(box: Sequence[float], colour: str, style: str, above: bool = False) -> Rectangle:
    left, top, right, bottom = box
    return Rectangle(
        (left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=colour, linestyle=style,
        linewidth=0.9 if above else 1.5, zorder=3 if above else 2,
    )  # fmt: skip


def _colour(kind: int) -> str:
    return f"C{kind % 10}"


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI)
    return out.getvalue()
