"""Read images with boxes in the layouts of Pascal VOC, COCO and YOLO into tensors of one size.

VOC:  ImageSets/Main/SPLIT.txt  Annotations/NAME.xml  JPEGImages/NAME.jpg
COCO: annotations/instances_SPLIT.json (or SPLIT/_annotations.coco.json), images in SPLIT/, images/SPLIT/,
      images/ or beside annotations/
YOLO: data.yaml, images/, labels/; see yolo.py
"""

import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from evodevo.errors import UsageError
from workers.data.example import FETCH, Example, number_of, text_of
from workers.data.yolo import find_data_yaml, read_yolo
from workers.workload import Splits

Layout = Literal["voc", "coco", "yolo"]
SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG")
GREY = 114
"""Grey level around an image, as in YOLOv5."""
MULTIPLE = 32
"""The sides of the images are multiples of this, the coarsest stride of the network."""


@dataclass(frozen=True)
class DetectionData:
    """Images with boxes, and their classes."""

    splits: Splits
    """Images uint8 (n, 3, height, width) and labels float32 (n, most, 5); see `workers.detection`."""
    classes: list[str]
    left_out: int
    """Number of boxes without area, which are left out of the splits."""
    outlines: Sequence[Sequence[np.ndarray | None]] = ()
    """Outline for each row of each training image's labels: float (points, 2), in the pixels of the boxes, or
    None if unknown; empty if none is known."""


def load(
    root: str | None,
    dataset: str,
    layout: Layout,
    names: Sequence[str | None],
    limits: Sequence[int | None],
    pixels: int,
) -> DetectionData:
    """Return the splits `names` (to train, validate and, unless None, test), the first `limits` of each.

    dataset: the directory of the layout under `root`, or YOLO's YAML file; `root` may also be that directory
    itself.
    The longer side of each image becomes `pixels`. Images are centred on a grey canvas, the smallest that
    holds all of them and has sides that are multiples of 32. The classes are those of the training split, by
    name in VOC, in the order of their ids in COCO and YOLO. If a data.yaml has no entry for the last of
    `names`, there is no test split.
    Raises `UsageError` if files are missing or damaged, or have classes that are not in the training split.
    """
    if pixels < MULTIPLE:
        raise UsageError(f"workload.options.pixels: should be {MULTIPLE} or more, not {pixels}")
    for split, limit in zip(("train", "validation", "test"), limits, strict=True):
        if limit is not None and limit < 1:
            raise UsageError(f"workload.options.{split}_examples: should be 1 or more, not {limit}")
    base = _find(root, dataset, layout)
    parts: list[list[Example]] = []
    classes: list[str] = []
    for name, limit in zip(names, limits, strict=True):
        if name is None:
            continue
        examples, known = READERS[layout](base, name)
        if not examples and len(parts) == 2:
            continue
        if not examples:
            raise UsageError(f"{base}: has no split {name!r}")
        classes = classes or known
        parts.append(examples[:limit])
        for example in parts[-1]:
            if unknown := set(example.classes) - set(classes):
                raise UsageError(
                    f"{example.path}: has an object of class {min(unknown)!r}; the training split has "
                    f"{', '.join(classes) or 'none'}"
                )
    images = [[_image(example.path, pixels) for example in part] for part in parts]
    canvas = _canvas([image.shape[1:] for part in images for image in part])
    splits, outlines, left_out = [], [], 0
    for part, own in zip(parts, images, strict=True):
        placed = [_placed(image, example, classes, canvas) for image, example in zip(own, part, strict=True)]
        left_out += sum(len(e.boxes) - len(labels) for e, (_, labels, _) in zip(part, placed, strict=True))
        splits.append((torch.stack([one for one, _, _ in placed]), padded([found for _, found, _ in placed])))
        outlines.append([found for _, _, found in placed])
    has_outlines = any(outline is not None for own in outlines[0] for outline in own)
    return DetectionData(Splits(*splits), classes, left_out, outlines[0] if has_outlines else ())


def read_voc(base: Path, split: str) -> tuple[list[Example], list[str]]:
    """Return a VOC split's examples, in its order, and the sorted names of their classes.

    VOC counts pixels from 1 and includes the last one. Objects marked as difficult are ignored ones. Raises
    `UsageError` if files are missing or damaged.
    """
    path = base / "ImageSets" / "Main" / f"{split}.txt"
    names = [line.split()[0] for line in text_of(path).splitlines() if line.strip()]
    if not names:
        raise UsageError(f"{path}: lists no images")
    examples = [_read_xml(base, name) for name in names]
    return examples, sorted({name for example in examples for name in example.classes})


def _read_xml(base: Path, name: str) -> Example:
    path = base / "Annotations" / f"{name}.xml"
    try:
        tree = ElementTree.fromstring(text_of(path))
        example = Example(_image_path([base / "JPEGImages"], name, path))
        for found in tree.iter("object"):
            left, top, right, bottom = (
                number_of(found.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            difficult = (found.findtext("difficult") or "0").strip() == "1"
            example.add((left - 1, top - 1, right, bottom), str(found.findtext("name")).strip(), difficult)
    except (ElementTree.ParseError, ValueError) as why:
        raise UsageError(f"{path}: is not a VOC annotation: {why}") from None
    return example


def read_coco(base: Path, split: str) -> tuple[list[Example], list[str]]:
    """Return a COCO split's examples, in its order, and the names of all categories by id.

    A box is left, top, width and height. Crowds are ignored objects. Raises `UsageError` if files are missing
    or damaged.
    """
    choices = [base / "annotations" / f"instances_{split}.json", base / split / "_annotations.coco.json"]
    path = next((choice for choice in choices if choice.is_file()), choices[0])
    try:
        found = json.loads(text_of(path))
        names = {entry["id"]: str(entry["name"]) for entry in found["categories"]}
        folders = [base / split, base / "images" / split, base / "images", base]
        examples = {
            entry["id"]: Example(_image_path(folders, entry["file_name"], path)) for entry in found["images"]
        }
        for entry in found["annotations"]:
            left, top, width, height = (number_of(value) for value in entry["bbox"])
            box = (left, top, left + width, top + height)
            crowd = bool(entry.get("iscrowd", 0))
            examples[entry["image_id"]].add(box, names[entry["category_id"]], crowd)
    except KeyError as why:
        raise UsageError(f"{path}: is not a COCO annotation file: it lacks {why}") from None
    except (ValueError, TypeError, AttributeError) as why:
        raise UsageError(f"{path}: is not a COCO annotation file: {why}") from None
    if not examples:
        raise UsageError(f"{path}: lists no images")
    return list(examples.values()), [names[number] for number in sorted(names)]


def padded(labels: Sequence[Tensor]) -> Tensor:
    """Return the labels of images, (m, 5) each, as one (images, most, 5), padded with empty rows."""
    most = max([1, *(len(own) for own in labels)])
    rows = torch.zeros(len(labels), most, 5)
    rows[..., 4] = -1
    for number, own in enumerate(labels):
        rows[number, : len(own)] = own
    return rows


READERS = {"voc": read_voc, "coco": read_coco, "yolo": read_yolo}


def _placed(
    image: np.ndarray, example: Example, classes: Sequence[str], canvas: tuple[int, int]
) -> tuple[Tensor, Tensor, list[np.ndarray | None]]:
    """Return the image centred on the canvas, uint8 (3, *canvas), its labels (m, 5), and their outlines."""
    height, width = image.shape[1:]
    top, left = (canvas[0] - height) // 2, (canvas[1] - width) // 2
    whole = np.full((3, *canvas), GREY, np.uint8)
    whole[:, top : top + height, left : left + width] = image
    original_width, original_height = _size(example.path)
    rows: list[list[float]] = []
    outlines: list[np.ndarray | None] = []
    factors, corner = (width / original_width, height / original_height), (left, top)
    objects = zip(example.boxes, example.classes, example.ignored, example.outlines, strict=True)
    for box, name, ignored, outline in objects:
        x = [min(max(side, 0.0), original_width) * width / original_width + left for side in box[::2]]
        y = [min(max(side, 0.0), original_height) * height / original_height + top for side in box[1::2]]
        number = classes.index(name)
        if x[1] > x[0] and y[1] > y[0]:
            rows.append([x[0], y[0], x[1], y[1], -2 - number if ignored else number])
            outlines.append(None if outline is None else np.array(outline) * factors + corner)
    return torch.from_numpy(whole), torch.tensor(rows).reshape(-1, 5), outlines


def _image(path: Path, pixels: int) -> np.ndarray:
    """Return an image, uint8 (3, height, width), scaled so that its longer side is `pixels`."""
    try:
        with Image.open(path) as image:
            factor = pixels / max(image.size)
            width, height = (max(1, round(side * factor)) for side in image.size)
            resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
            return np.asarray(resized).transpose(2, 0, 1)
    except OSError as why:  # Pillow raises it for damaged images too
        raise UsageError(f"{path}: cannot be read as an image: {why}") from None


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def _canvas(sizes: Sequence[tuple[int, ...]]) -> tuple[int, int]:
    height, width = (math.ceil(max(side) / MULTIPLE) * MULTIPLE for side in zip(*sizes, strict=True))
    return height, width


def _image_path(folders: Sequence[Path], name: str, named_in: Path) -> Path:
    """Return the path of the image of a name, which may lack the suffix."""
    for folder in folders:
        for suffix in ("", *SUFFIXES):
            path = folder / f"{name}{suffix}"
            if path.is_file():
                return path
    raise UsageError(f"{folders[0]} has no image {name}, which {named_in} lists; {FETCH}")


def _find(root: str | None, dataset: str, layout: Layout) -> Path:
    marks: Mapping[Layout, Sequence[str]] = {
        "voc": ("Annotations",),
        "coco": ("annotations", "*/_annotations.coco.json"),
        "yolo": ("data.yaml",),
    }
    if root is None:
        raise UsageError(f"data.root: should name the directory of the data; {FETCH}")
    if layout == "yolo":
        for base in (Path(root, dataset), Path(root)):
            if path := find_data_yaml(base):
                return path
    for base in (Path(root, dataset), Path(root)):
        if any(any(base.glob(mark)) for mark in marks[layout]):
            return base
    raise UsageError(
        f"data.root: neither {Path(root, dataset)} nor {root} has the layout of {layout.upper()} "
        f"({marks[layout][0]}/ is missing); {FETCH}"
    )
