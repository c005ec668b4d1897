"""The hyperparameters that a workload is given."""

from typing import Any


class UnknownHyperparameter(KeyError):
    def __str__(self) -> str:
        return str(self.args[0])


class Hyperparameters(dict[str, Any]):
    """A dict that says plainly which name it lacks, and remembers in `read` which names were asked for."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

    def __missing__(self, name: str) -> Any:
        raise UnknownHyperparameter(
            f"the workload asks for hyperparameter {name!r}; search.loci gives {', '.join(self) or 'none'}"
        )
