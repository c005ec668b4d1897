"""Readers of VOC and COCO: what they make of made files, of BCCD, and of bad ones."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from evodevo.errors import UsageError
from tests.configs import complaint
from tests.golden import assert_golden
from tests.workers.conftest import SHARED_DATA
from workers.data.detection import DetectionData, load

ORIGINAL = SHARED_DATA / "bccd" / "BCCD.tar.xz"
NAMES, NO_LIMITS = ("train", "val", None), (None, None, None)


def picture(path: Path, width: int = 64, height: int = 48, colour: int = 200) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), colour, np.uint8)).save(path)


def xml(*objects: tuple[Any, ...]) -> str:
    found = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{box[0]}</xmin>"
        f"<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, difficult, *box in objects
    )
    return f"<annotation>{found}</annotation>"


def voc(base: Path) -> Path:
    """Two images to train, of which one has no object, and one to validate."""
    for folder in ("ImageSets/Main", "Annotations"):
        (base / folder).mkdir(parents=True)
    (base / "ImageSets/Main/train.txt").write_text("one\ntwo\n\n")
    (base / "ImageSets/Main/val.txt").write_text("three\n")
    for name in ("one", "two", "three"):
        picture(base / "JPEGImages" / f"{name}.jpg")
        (base / "Annotations" / f"{name}.xml").write_text(xml())
    objects = [("dog", 0, 1, 1, 32, 24), ("cat", 1, 11, 5, 20, 10), ("cat", 0, 9, 9, 8, 20)]
    (base / "Annotations/one.xml").write_text(xml(*objects))
    (base / "Annotations/three.xml").write_text(xml(("cat", 0, 50, 40, 99, 99)))
    return base


def coco(base: Path) -> Path:
    for split in ("train", "val"):
        picture(base / split / f"{split}.png")
        text = {
            "categories": [{"id": 7, "name": "zebra"}, {"id": 3, "name": "yak"}],
            "images": [{"id": 5, "file_name": f"{split}.png", "width": 64, "height": 48}],
            "annotations": [
                {"id": 1, "image_id": 5, "category_id": 7, "bbox": [0, 0, 32, 24], "iscrowd": 0},
                {"id": 2, "image_id": 5, "category_id": 3, "bbox": [10, 10, 20, 20], "iscrowd": 1},
                {"id": 3, "image_id": 5, "category_id": 3, "bbox": [10, 10, 0, 20]},
            ],
        }
        path = base / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(text))
    return base


def read(root: Path | str | None, layout: Any = "voc", pixels: int = 128, **changes: Any) -> DetectionData:
    arguments = {"names": NAMES, "limits": NO_LIMITS, **changes}
    return load(None if root is None else str(root), "pets", layout, pixels=pixels, **arguments)


def test_voc_counts_from_one_and_marks_difficult_objects(tmp_path: Path) -> None:
    data = read(voc(tmp_path / "pets").parent)
    assert data.classes == ["cat", "dog"]
    images, labels = data.splits.train
    assert (images.shape, images.dtype) == ((2, 3, 96, 128), torch.uint8)
    assert labels[0].tolist() == [[0, 0, 64, 48, 1], [20, 8, 40, 20, -2]]
    assert labels[1, :, 4].tolist() == [-1, -1]
    assert data.left_out == 1


def test_a_box_that_reaches_out_of_its_image_is_cut_at_the_border(tmp_path: Path) -> None:
    _, labels = read(voc(tmp_path)).splits.validation
    assert labels.tolist() == [[[98, 78, 128, 96, 0]]]


def test_an_image_is_in_the_middle_of_a_canvas_of_multiples_of_32_on_grey(tmp_path: Path) -> None:
    data = read(voc(tmp_path), pixels=64)
    images, labels = data.splits.train
    assert images.shape == (2, 3, 64, 64)
    assert images[0, 0, :, 5].tolist() == [114] * 8 + [200] * 48 + [114] * 8
    assert labels[0, 0].tolist() == [0, 8, 32, 32, 1]


def test_coco_has_corner_and_size_classes_by_id_and_crowds(tmp_path: Path) -> None:
    data = read(coco(tmp_path / "pets").parent, "coco")
    assert data.classes == ["yak", "zebra"]
    assert data.splits.train[1].tolist() == [[[0, 0, 64, 48, 1], [20, 20, 60, 60, -2]]]
    assert data.left_out == 2  # one in each split


def test_a_limit_takes_the_first_of_a_split(tmp_path: Path) -> None:
    assert len(read(voc(tmp_path), limits=(1, None, None)).splits.train[0]) == 1


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused_by_the_name_of_its_option(tmp_path: Path, limit: int) -> None:
    with pytest.raises(UsageError, match=r"^workload\.options\.validation_examples: "):
        read(voc(tmp_path), limits=(None, limit, None))


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("no-list", "ImageSets/Main/train.txt", None),
        ("empty-list", "ImageSets/Main/train.txt", "\n"),
        ("no-annotation", "Annotations/one.xml", None),
        ("cut-short", "Annotations/one.xml", "<annotation>"),
        ("no-number", "Annotations/one.xml", xml(("cat", 0, "x", 1, 2, 2))),
        ("nan", "Annotations/one.xml", xml(("cat", 0, "nan", 1, 2, 2))),
        ("no-image", "JPEGImages/one.jpg", None),
        ("no-picture", "JPEGImages/one.jpg", "no picture"),
        ("unknown-class", "Annotations/three.xml", xml(("cow", 0, 1, 1, 9, 9))),
    ],
)
def test_a_bad_file_of_voc_is_named_in_one_line(
    tmp_path: Path, name: str, file: str, content: str | None
) -> None:
    path = voc(tmp_path) / file
    path.unlink() if content is None else path.write_text(content)
    message = complaint(lambda: read(tmp_path))
    assert "\n" not in message
    assert_golden(f"data/voc/{name}", message, tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("no-file", None),
        ("cut-short", "{"),
        ("list", "[]"),
        ("no-categories", "{}"),
        ("no-images", '{"categories": [], "images": [], "annotations": []}'),
    ],
)
def test_a_bad_file_of_coco_is_named_in_one_line(tmp_path: Path, name: str, content: str | None) -> None:
    path = coco(tmp_path) / "annotations" / "instances_train.json"
    path.unlink() if content is None else path.write_text(content)
    message = complaint(lambda: read(tmp_path, "coco"))
    assert "\n" not in message
    assert_golden(f"data/coco/{name}", message, tmp_path)


def test_a_missing_root_says_what_is_missing_and_how_to_get_data(tmp_path: Path) -> None:
    message = complaint(lambda: read(None))
    assert message.startswith("data.root: ")
    assert_golden("data/detection/no-root", message)
    assert_golden("data/detection/no-voc", complaint(lambda: read(tmp_path)), tmp_path)
    assert_golden("data/detection/pixels", complaint(lambda: read(tmp_path, pixels=8)), tmp_path)


@pytest.mark.skipif(not ORIGINAL.exists(), reason="BCCD is not here")
def test_bccd_has_its_published_splits_and_classes(tmp_path: Path) -> None:
    with tarfile.open(ORIGINAL) as archive:
        archive.extractall(tmp_path / "bccd", filter="data")
    data = load(str(tmp_path), "bccd/BCCD", "voc", ("train", "val", "test"), (None,) * 3, 64)
    splits = (data.splits.train, data.splits.validation, data.splits.test or ())
    assert [len(split[0]) for split in splits] == [205, 87, 72]
    assert data.classes == ["Platelets", "RBC", "WBC"]
