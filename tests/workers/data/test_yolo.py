"""YOLO's layout: its data.yaml, its labels, and that a folder made of a VOC folder has the same in it."""

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from tests.configs import complaint
from tests.golden import assert_golden
from tests.workers.conftest import SHARED_DATA
from tests.workers.data.test_detection import picture, voc, xml
from workers.data.detection import DetectionData, load, read_voc
from workers.data.yolo import labels_of, read_yolo
from workers.workloads.detector import YOLO

ORIGINAL = SHARED_DATA / "bccd" / "BCCD.tar.xz"
SMALL = Path(__file__).resolve().parents[2] / "data" / "bccd-small"
SPLITS = ("train", "val", "test")


def yolo_of(base: Path, folder: Path, data: dict[str, Any] | None = None, digits: int = 6) -> Path:
    """The YOLO folder of a VOC folder without difficult objects: pixels from 0, as fractions of the image."""
    names = sorted({name for split in SPLITS for one in read_voc(base, split)[0] for name in one.classes})
    for split in SPLITS:
        for example in read_voc(base, split)[0]:
            image = folder / "images" / split / example.path.name
            image.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(example.path, image)
            with Image.open(image) as opened:
                width, height = opened.size
            lines = []
            for (left, top, right, bottom), name in zip(example.boxes, example.classes, strict=True):
                x, y = (left + right) / 2 / width, (top + bottom) / 2 / height
                sides = (right - left) / width, (bottom - top) / height
                lines.append(" ".join([str(names.index(name)), *(f"{v:.{digits}f}" for v in (x, y, *sides))]))
            labels_of(image).parent.mkdir(parents=True, exist_ok=True)
            labels_of(image).write_text("\n".join(lines))
    given = {split: f"images/{split}" for split in SPLITS} | {"names": dict(enumerate(names))}
    (folder / "data.yaml").write_text(yaml.safe_dump(given | (data or {})))
    return folder


@pytest.fixture(params=["small", "original"])
def bccd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "small":
        yield SMALL
    elif not ORIGINAL.exists():
        pytest.skip("BCCD is not here")
    else:
        with tarfile.open(ORIGINAL) as archive:
            archive.extractall(tmp_path / "original", filter="data")
        yield tmp_path / "original" / "BCCD"


def test_a_folder_made_from_bccd_has_the_boxes_and_the_map_of_the_voc_layout(
    bccd: Path, tmp_path: Path
) -> None:
    folder = yolo_of(bccd, tmp_path / "yolo")
    limits = {"train_examples": 4, "validation_examples": 40, "test_examples": 1}
    options: dict[str, Any] = {"pixels": 96, "batch_size": 2, "width": 0.125, "epochs": 20, **limits}
    figures, found, parent = [], [], None
    for root, layout in ((bccd, "voc"), (folder, "yolo")):
        found.append(load(str(root), ".", layout, SPLITS, (None,) * 3, 96))
        workload = YOLO(dataset=".", layout=layout, optimizer="adamw", activation="silu", **options)
        workload.prepare(torch.device("cpu"), str(root))
        training = workload.begin({"lr0": 0.005, "warmup_epochs": 0}, 0, parent)
        if parent is None:  # the other one has the same network
            list(workload.train(training))
            parent = workload.checkpoint(training)
        figures.append(workload.evaluate(training, "validation"))
    one, other = found
    assert one.classes == other.classes == ["Platelets", "RBC", "WBC"]
    assert not other.outlines
    for split in ("train", "validation", "test"):
        ours, theirs = getattr(one.splits, split), getattr(other.splits, split)
        assert torch.equal(ours[0], theirs[0])
        assert torch.allclose(ours[1], theirs[1], atol=1e-3)
        assert torch.equal(ours[1][..., 4], theirs[1][..., 4])
    assert figures[0]["validation_map50"] > 0
    assert figures[1] == pytest.approx(figures[0], abs=1e-4)


def read(root: Path, layout: Any = "yolo", **changes: Any) -> DetectionData:
    arguments = {"names": ("train", "val", None), "limits": (None,) * 3, **changes}
    return load(str(root), "pets", layout, pixels=64, **arguments)


def small(folder: Path, *lines: str, **data: Any) -> Path:
    """One image of 64 x 48 to train, with these labels, and one without any to validate."""
    for split in ("train", "val"):
        picture(folder / "images" / split / "a.png")
    (folder / "labels/train").mkdir(parents=True)
    (folder / "labels/train/a.txt").write_text("\n".join(lines))
    (folder / "labels/val").mkdir()
    (folder / "labels/val/a.txt").write_text("")
    given = {"train": "images/train", "val": "images/val", "names": ["cat", "dog"], **data}
    (folder / "data.yaml").write_text(yaml.safe_dump(given))
    return folder


def test_a_box_is_its_middle_and_its_sides_and_a_polygon_lies_in_a_box(tmp_path: Path) -> None:
    data = read(small(tmp_path, "1 0.5 0.5 0.25 0.5", "", "0 0.25 0.25 0.5 0.25 0.375 0.75"))
    images, labels = data.splits.train
    assert images.shape == (1, 3, 64, 64)  # 8 rows of grey above the image
    assert labels.tolist() == [[[24, 20, 40, 44, 1], [16, 20, 32, 44, 0]]]
    ((none, outline),) = data.outlines
    assert none is None
    assert outline is not None
    assert outline.tolist() == [[16, 20], [32, 20], [24, 44]]
    assert data.splits.validation[1].tolist() == [[[0, 0, 0, 0, -1]]]


def test_training_pastes_what_polygons_enclose_and_only_where_objects_are_pasted(tmp_path: Path) -> None:
    """Of two folders one knows outlines and the other the boxes around them; images are of two greys."""
    triangle, box = "0 0.25 0.25 0.75 0.25 0.25 0.75", "0 0.5 0.5 0.5 0.5"
    batches: dict[tuple[str, float], Any] = {}
    for name, line in (("outlines", triangle), ("boxes", box)):
        folder = small(tmp_path / name, line)
        picture(folder / "images/train/b.png", colour=50)
        workload = YOLO(
            layout="yolo", test=None, pixels=64, batch_size=2, width=0.125, anchors=[(9.0, 9.0)] * 3
        )
        workload.prepare(torch.device("cpu"), str(folder))
        for probability in (0.0, 1.0):
            training = workload.begin({"copy_paste": probability}, 0, None)
            (batches[name, probability],) = workload.train_batches(training)
    for probability in (0.0, 1.0):
        assert torch.equal(batches["outlines", probability][1], batches["boxes", probability][1])
    assert torch.equal(batches["outlines", 0.0][0], batches["boxes", 0.0][0])
    before = batches["boxes", 0.0][0]
    changed = [int((batches[name, 1.0][0] != before).any(1).sum()) for name in ("outlines", "boxes")]
    assert changed[1] == 32 * 24
    assert changed[0] == pytest.approx(32 * 24 / 2, rel=0.1)


@pytest.mark.parametrize(
    ("data", "moved"),
    [
        ({"path": "../datasets/pets"}, "pets"),  # of YOLOv5's own directory
        ({"path": "pets"}, "pets"),
        ({"train": "../images/train", "val": "../images/val"}, "."),  # as some exports have it
        ({"train": ["images/train"], "names": {0: "cat", 1: "dog"}, "nc": 2, "test": None}, "."),
        ({"train": "train.txt", "val": "./images/val/a.png"}, "."),
    ],
)
def test_splits_are_found_where_coco128_and_others_have_them(
    tmp_path: Path, data: dict[str, Any], moved: str
) -> None:
    small(tmp_path / "pets", "0 0.5 0.5 1 1", **data)
    (tmp_path / "pets/train.txt").write_text("./images/train/a.png\n\n")
    if moved != ".":
        shutil.move(tmp_path / "pets/data.yaml", tmp_path / "pets.yaml")
    for root in (tmp_path, tmp_path / ("pets" if moved == "." else ".")):
        assert read(root).splits.train[1].tolist() == [[[0, 8, 64, 56, 0]]]


def test_the_files_of_coco128_are_read_with_a_test_split_left_empty(tmp_path: Path) -> None:
    small(tmp_path / "pets", "0 0.5 0.5 1 1", test="")
    data = read(tmp_path, names=SPLITS)
    assert data.splits.test is None
    assert data.classes == ["cat", "dog"]


def test_images_of_a_directory_are_in_order_and_their_labels_elsewhere_or_beside_them(tmp_path: Path) -> None:
    small(tmp_path, "0 0.5 0.5 1 1")
    for name in ("sub/c.JPG", "b.jpeg"):
        picture(tmp_path / "images/train" / name)
    (tmp_path / "images/train/notes.md").write_text("no image")
    names = [example.path.name for example in read_yolo(tmp_path / "data.yaml", "train")[0]]
    assert names == ["a.png", "b.jpeg", "c.JPG"]
    assert labels_of(Path("images/x/images/y/a.b.jpg")) == Path("images/x/labels/y/a.b.txt")
    assert labels_of(Path("pictures/a.jpg")) == Path("pictures/a.txt")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("four-numbers", "0 0.5 0.5 1"),
        ("six-numbers", "0 0.1 0.1 0.5 0.5 0.7"),
        ("pixels", "0 32 24 10 10"),
        ("nan", "0 0.5 0.5 nan 1"),
        ("class-name", "cat 0.5 0.5 1 1"),
        ("class-half", "0.5 0.5 0.5 1 1"),
        ("no-class-2", "2 0.5 0.5 1 1"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, name: str, line: str) -> None:
    message = complaint(lambda: read(small(tmp_path, "1 0.5 0.5 1 1", line)))
    assert "labels/train/a.txt, line 2" in message
    assert "\n" not in message
    assert_golden(f"data/yolo/line/{name}", message, tmp_path)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("names-missing", {"names": None}),
        ("names-inverted", {"names": {"cat": 0}}),
        ("name-twice", {"names": ["cat", "cat"]}),
        ("nc", {"nc": 3}),
        ("no-split", {"train": None}),
        ("split-number", {"train": 7}),
        ("no-folder", {"train": "images/none"}),
        ("no-image", {"train": "labels"}),
        ("no-labels", {"train": "pictures"}),
    ],
)
def test_a_bad_data_yaml_is_named(tmp_path: Path, name: str, data: dict[str, Any]) -> None:
    picture(tmp_path / "pictures/b.png")
    message = complaint(lambda: read(small(tmp_path, "1 0.5 0.5 1 1", **data)))
    assert "data.yaml: " in message
    assert "\n" not in message
    assert_golden(f"data/yolo/data/{name}", message, tmp_path)


def test_a_folder_of_another_layout_is_refused(tmp_path: Path) -> None:
    message = complaint(lambda: read(voc(tmp_path)))
    assert_golden("data/yolo/another-layout", message, tmp_path)
    assert xml() == "<annotation></annotation>"
