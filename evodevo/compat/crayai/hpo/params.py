"""Define the hyperparameters of a driver script: flags with initial values and ranges or choices."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evodevo.command_flags import OWN_PLACEHOLDERS
from evodevo.errors import UsageError


@dataclass(frozen=True)
class Param:
    """A hyperparameter: the program's flag, the name of its locus, and the locus."""

    flag: str
    name: str
    initial: Any
    locus: Mapping[str, Any]

    @property
    def arguments(self) -> list[str]:
        """Arguments of the command that set its value; the flag `--optimizer lr` gives two before the
        value."""
        return [*(text.replace("{", "{{").replace("}", "}}") for text in shlex.split(self.flag)), self.place]

    @property
    def place(self) -> str:
        return "{" + self.name + "}"


class Params(Sequence[Param]):
    """Hyperparameters, as `Params([["--lr", 0.001, (1e-6, 0.1)], ["--optimizer", "Adam", ["Adam",
    "Nadam"]]])`.

    A range whose bounds and initial value are whole numbers has whole numbers only. A list, or a tuple with
    text or other than two entries, gives choices; the initial value is added if it is missing. Raises
    `UsageError`.
    """

    def __init__(self, params: Sequence[Sequence[Any]]) -> None:
        self._params: list[Param] = []
        if not isinstance(params, list | tuple):
            raise UsageError(f'Params: {params!r} should be a list of ["--flag", initial, values]')
        for given in params:
            if not isinstance(given, list | tuple) or len(given) != 3 or not isinstance(given[0], str):
                raise UsageError(f'Params: {given!r} should be ["--flag", initial, (low, high) or [choices]]')
            flag, initial, values = given
            _check_words(flag)
            if not shlex.split(flag) or any(flag == other.flag for other in self._params):
                raise UsageError(f"Params: the flag {flag!r} is {'given twice' if flag.strip() else 'empty'}")
            self._params.append(Param(flag, self._name(flag), plain(initial), _locus(flag, initial, values)))
        if not self._params:
            raise UsageError("Params: give at least one hyperparameter")

    def _name(self, flag: str) -> str:
        name = re.sub(r"\W", "_", flag.strip().lstrip("-")) or "_"
        taken = {*OWN_PLACEHOLDERS} | {param.name for param in self._params}
        while name in taken or name[0].isdigit():
            name = f"{name}_" if name in taken else f"_{name}"
        return name

    def __getitem__(self, at: Any) -> Any:
        return self._params[at]

    def __len__(self) -> int:
        return len(self._params)

    @property
    def loci(self) -> dict[str, Mapping[str, Any]]:
        """The loci, as in a config."""
        return {param.name: param.locus for param in self._params}

    @property
    def initial(self) -> dict[str, Any]:
        """The initial values by flag."""
        return {param.flag: param.initial for param in self._params}

    def by_flag(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return hyperparameters by flag."""
        return {param.flag: hyperparameters[param.name] for param in self._params}


def _check_words(flag: str) -> None:
    try:
        shlex.split(flag)
    except ValueError as why:
        raise UsageError(f"Params: the flag {flag!r} is not valid in a shell: {why}") from None


def plain(value: Any) -> Any:
    """Return a value, converted from NumPy's type to Python's."""
    return value.item() if hasattr(value, "item") else value


def _locus(flag: str, initial: Any, values: Any) -> dict[str, Any]:
    initial = plain(initial)
    if not isinstance(values, list | tuple):
        raise UsageError(f"Params: {flag} has {values!r}; give (low, high) or a list of choices")
    values = type(values)(plain(value) for value in values)
    if isinstance(values, list) or len(values) != 2 or any(isinstance(value, str) for value in values):
        if any(not isinstance(one, str | int | float) for one in (initial, *values)):
            raise UsageError(f"Params: {flag} is {initial!r} of {values!r}; give text or numbers as choices")
        choices = list(dict.fromkeys([*values] if initial in values else [initial, *values]))
        if len(choices) == 1:
            return {"type": "fixed", "value": initial}
        at = choices.index(initial)
        return {"type": "choice", "choices": choices, "initial": choices[at]}
    numbers = (initial, *values)
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in numbers):
        raise UsageError(f"Params: {flag} is {initial!r} in {values!r}; give numbers for a range")
    if not values[0] < values[1] or not values[0] <= initial <= values[1]:
        raise UsageError(
            f"Params: the initial value {initial!r} of {flag} should lie in the range {values!r} (low, high)"
        )
    if all(isinstance(one, int) for one in numbers):
        return {"type": "int", "low": values[0], "high": values[1], "initial": initial}
    low, high, begin = float(values[0]), float(values[1]), float(initial)
    return {"type": "float", "low": low, "high": high, "initial": begin}
