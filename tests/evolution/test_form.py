"""A strategy's class that has not the form of one is refused with what would be right, before it is asked."""

from typing import Any

import pytest
from pydantic import BaseModel

from evodevo import CommonOptions, Strategy
from evodevo.config import parse
from evodevo.evolution.population import Birth
from evodevo.evolution.strategies import find
from tests.configs import complaint, small
from tests.golden import assert_golden


class Good(Strategy):
    Options = CommonOptions

    def birth(self, *_: Any) -> Birth:
        raise AssertionError("it is not asked")


class NoBirth(Strategy):
    Options = CommonOptions


class PaceOfOne(Good):
    paces = ("generation",)  # type: ignore[assignment]


class PaceAsText(Good):
    paces = "generations"  # type: ignore[assignment]


class OptionsAsDict(Good):
    Options = {"sigma": 1}  # type: ignore[assignment]  # noqa: RUF012


class OptionsAsInstance(Good):
    Options = CommonOptions()  # type: ignore[assignment]


class Plain(BaseModel):
    sigma: float = 1.0


class PlainOptions(Good):
    Options = Plain  # type: ignore[assignment]


class PlainOptionsAndFounders(PlainOptions):
    def founder(self, generation: int, slot: int) -> Birth:
        raise AssertionError("it is not asked")


class SmallestAsText(Good):
    smallest_population = "3"  # type: ignore[assignment]


class RaisesWhenMade(Good):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.options.sigmas  # noqa: B018


class TakesNothing(Good):
    def __init__(self) -> None:
        pass


@pytest.mark.parametrize("kind", [Good, PlainOptionsAndFounders])
def test_a_class_that_has_the_form_is_found(kind: type) -> None:
    assert find(f"{__name__}:{kind.__name__}") is kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("no-birth", NoBirth),
        ("pace-of-one", PaceOfOne),
        ("pace-as-text", PaceAsText),
        ("options-as-dict", OptionsAsDict),
        ("options-as-instance", OptionsAsInstance),
        ("plain-options", PlainOptions),
        ("smallest-as-text", SmallestAsText),
    ],
)
def test_a_class_that_has_not_is_one_message_of_a_config(name: str, kind: type) -> None:
    message = complaint(lambda: parse(small({"search.strategy": f"{__name__}:{kind.__name__}"})))
    assert message.startswith("config: search.strategy: ")
    assert_golden(f"strategy-form/{name}", message, module=__name__)


@pytest.mark.parametrize(
    ("kind", "said"),
    [(RaisesWhenMade, "has no attribute 'sigmas'"), (TakesNothing, "takes 1 positional argument")],
)
def test_one_that_cannot_be_made_is_one_message_of_a_config(kind: type, said: str) -> None:
    message = complaint(
        lambda: parse(small({"search.strategy": f"{__name__}:{kind.__name__}", "search.options": {}}))
    )
    assert "search.strategy" in message
    assert said in message
    assert kind is not RaisesWhenMade or "test_form.py" in message
