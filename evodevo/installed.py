"""Find strategies, workloads and trackers of other installed packages by their entry points.

Listing them imports nothing. A package declares one in its pyproject.toml:

    [project.entry-points."evodevo.strategies"]
    simulated_annealing = "annealing.strategy:Annealing"
"""

STRATEGIES = "evodevo.strategies"
WORKLOADS = "evodevo.workloads"
TRACKERS = "evodevo.trackers"


def names(group: str) -> list[str]:
    """Return the names of a group of entry points, sorted."""
    from importlib.metadata import entry_points  # takes 50 ms, and most names are evodevo's own

    return sorted(entry_points(group=group).names)


def path_of(group: str, name: str) -> str | None:
    """Return the import path `module:Class` of a name; None if no package offers it.

    Raises `ValueError` if packages offer different classes under the same name.
    """
    from importlib.metadata import entry_points

    found = {
        f"{entry.module}:{entry.attr}": entry.dist.name if entry.dist else "?"
        for entry in entry_points(group=group, name=name)
    }
    if len(found) > 1:
        raise ValueError(
            f"{name!r} is ambiguous: {' and '.join(f'{path} in {of}' for path, of in found.items())}; "
            "give the import path"
        )
    return next(iter(found), None)
