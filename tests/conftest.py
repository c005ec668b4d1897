"""The order in which pytest-xdist starts files."""

from collections import Counter

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Let xdist keep the order below; by itself it starts files with few tests last: the longest."""
    node.config.option.loadscopereorder = False  # type: ignore[attr-defined]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files of whole runs, so that no process is alone with one at the end."""
    if not hasattr(config, "workerinput"):
        return
    counts = Counter(item.path for item in items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, -counts[item.path]))
