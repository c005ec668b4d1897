"""Read images with boxes in YOLOv5's layout, as in COCO128: a data.yaml, and a text file of labels per image.

data.yaml:  path, train, val, test, names; a split is a directory of images, a text file that lists them, or a
            list of these
labels:     the image's path with `labels` in place of its last `images`, and .txt: `class x y width height`
            in each line, or `class x1 y1 x2 y2 x3 y3 ...` for a polygon, as fractions of width and height
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from evodevo import yaml_text
from evodevo.errors import UsageError
from workers.data.example import Box, Example, Outline, number_of, text_of

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
FORM = (
    "should be `class x y width height`, or a class and three or more points `x y` of a polygon, all but the "
    "class as fractions of the image's sides, from 0 to 1"
)


def find_data_yaml(place: Path) -> Path | None:
    """Return `place` if it is a YAML file, or the data.yaml or the only YAML file in it, or None."""
    if place.is_file():
        return place if place.suffix in (".yaml", ".yml") else None
    found = [place / "data.yaml"] if (place / "data.yaml").is_file() else sorted(place.glob("*.y*ml"))
    return found[0] if len(found) == 1 else None


def read_yolo(path: Path, split: str) -> tuple[list[Example], list[str]]:
    """Return a split's examples and the names of all classes, in the order of their numbers.

    Images in a directory are sorted by path; a list keeps its order. An image without a text file has no
    objects. If data.yaml has no such split, there are no examples. Raises `UsageError` if files are missing
    or damaged.
    """
    data = yaml_text.read(path, "https://docs.ultralytics.com/datasets/detect/coco128")
    names = _names(path, data)
    entries = data.get(split) or []
    if not isinstance(entries, str | list) or not all(isinstance(one, str) for one in entries):
        raise UsageError(f"{path}: {split} should be a path or a list of paths, not {entries!r}")
    images = [
        image
        for entry in ([entries] if isinstance(entries, str) else entries)
        for image in _images(_place(path, data.get("path"), entry))
    ]
    if entries and not images:
        raise UsageError(f"{path}: {split} lists no images: {entries}")
    if images and not any(labels_of(image).is_file() for image in images):
        raise UsageError(f"{path}: {split} has no labels: neither {labels_of(images[0])} nor any other file")
    return [_example(image, names) for image in images], list(names.values())


def labels_of(image: Path) -> Path:
    """Return the path of an image's labels, with its last `images` replaced by `labels`, if any."""
    parts = list(image.parts)
    places = [at for at, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def _names(path: Path, data: Mapping[str, Any]) -> dict[int, str]:
    """Return the name of each class by its number."""
    given, count = data.get("names"), data.get("nc")
    if isinstance(given, list):
        given = dict(enumerate(given))
    if not isinstance(given, dict) or not given or not all(type(number) is int for number in given):
        raise UsageError(f"{path}: names should be a list of the classes' names, or map 0, 1, ... to them")
    names = {number: str(given[number]) for number in sorted(given)}
    if len(set(names.values())) < len(names):
        raise UsageError(f"{path}: names has the same name for two classes")
    if count is not None and count != len(names):
        raise UsageError(f"{path}: nc is {count!r}, but there are {len(names)} names")
    return names


def _place(path: Path, root: Any, entry: str) -> Path:
    """Return the location of a split: under `path`, under a directory of its last name, or beside the file.

    `path` may be relative to YOLOv5's own directory, and some exports write a superfluous `../`.
    """
    bases = [path.parent]
    if isinstance(root, str) and root:
        bases = [path.parent / root, path.parent / Path(root).name, path.parent]
    entries = [entry, entry.removeprefix("../")]
    tried = list(dict.fromkeys(base / one for base in bases for one in entries))
    for place in tried:
        if place.exists():
            return place
    raise UsageError(f"{path}: there is no {entry}: neither {' nor '.join(map(str, tried))}")


def _images(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(one for one in place.rglob("*") if one.suffix.lower() in SUFFIXES)
    elif place.suffix == ".txt":
        for line in text_of(place).splitlines():
            if line.strip():
                yield place.parent / line.strip()
    else:
        yield place


def _example(image: Path, names: Mapping[int, str]) -> Example:
    example, labels = Example(image), labels_of(image)
    try:
        with Image.open(image) as opened:
            width, height = opened.size
    except OSError as why:
        raise UsageError(f"{image}: cannot be read as an image: {why}") from None
    lines = text_of(labels).splitlines() if labels.is_file() else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            kind, box, outline = _object(line.split(), width, height)
        except ValueError as why:
            raise UsageError(f"{labels}, line {number}: {why}") from None
        if kind not in names:
            raise UsageError(f"{labels}, line {number}: unknown class {kind}; known: {names}")
        example.add(box, names[kind], False, outline)
    return example


def _object(cells: list[str], width: int, height: int) -> tuple[int, Box, Outline | None]:
    """Return the class of a line, and its box and outline in pixels; raise `ValueError` if malformed."""
    try:
        kind, values = number_of(cells[0]), [number_of(cell) for cell in cells[1:]]
    except ValueError as why:
        raise ValueError(f"{FORM}: {why}") from None
    is_box = len(values) == 4
    if not is_box and (len(values) < 6 or len(values) % 2):
        raise ValueError(f"{FORM}, and not of {len(cells)} numbers")
    if beyond := [value for value in values if not 0 <= value <= 1]:
        raise ValueError(f"{FORM}, and not {beyond[0]:g}")
    if kind != int(kind):
        raise ValueError(f"{FORM}, and the class a whole number, not {kind:g}")
    if is_box:
        x, y, half_wide, half_high = values[0], values[1], values[2] / 2, values[3] / 2
        left, right, top, bottom = x - half_wide, x + half_wide, y - half_high, y + half_high
        return int(kind), (left * width, top * height, right * width, bottom * height), None
    outline = [(x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True)]
    across, down = zip(*outline, strict=True)
    return int(kind), (min(across), min(down), max(across), max(down)), outline
