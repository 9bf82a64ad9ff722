"""The ranges of a tuning job's hyperparameters: values drawn from them, on the scale that is asked for, and the place of a value in them.

Source: docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-define-ranges.html
"""

import math
import random
from dataclasses import dataclass
from typing import Any

from localcloud.errors import ServiceError

ORDERS_OF_MAGNITUDE = 100.0
"""From this ratio of its ends on, a range with ScalingType Auto is searched by orders of magnitude. AWS does not say how it chooses."""
APART = 0.5**0.5
"""Of each of two categories' features, so that the two are as far apart as the ends of a numeric range."""


@dataclass(frozen=True)
class Numbers:
    """An IntegerParameterRange or ContinuousParameterRange. `scale` is Linear, Logarithmic or ReverseLogarithmic."""

    name: str
    low: float
    high: float
    scale: str
    whole: bool

    def draw(self, chance: random.Random) -> str:
        """Uniform on the scale. Whole numbers at the ends are as likely as the others."""
        low, high = self._ends()
        value = min(max(self._from_scale(low + chance.random() * (high - low)), self.low), self.high)
        return str(min(max(round(value), int(self.low)), int(self.high))) if self.whole else repr(value)

    def features(self, value: str) -> list[float]:
        """The place on the scale, from 0 to 1."""
        low, high = self._ends()
        return [(self._to_scale(float(value)) - low) / (high - low) if high > low else 0.0]

    def _ends(self) -> tuple[float, float]:
        margin = 0.5 if self.whole else 0.0
        ends = self._to_scale(self.low - margin), self._to_scale(self.high + margin)
        return min(ends), max(ends)

    def _to_scale(self, value: float) -> float:
        match self.scale:
            case "Logarithmic":
                return math.log(value)
            case "ReverseLogarithmic":
                return math.log(1.0 - value)
        return value

    def _from_scale(self, place: float) -> float:
        match self.scale:
            case "Logarithmic":
                return math.exp(place)
            case "ReverseLogarithmic":
                return 1.0 - math.exp(place)
        return place


@dataclass(frozen=True)
class Categories:
    """A CategoricalParameterRange."""

    name: str
    values: tuple[str, ...]

    def draw(self, chance: random.Random) -> str:
        return chance.choice(self.values)

    def features(self, value: str) -> list[float]:
        return [APART if value == one else 0.0 for one in self.values]


Range = Numbers | Categories


def read_ranges(p: dict[str, Any]) -> list[Range]:
    """ParameterRanges. Raises ValidationException for one that has no values, or not on its scale."""
    found: list[Range] = [_numbers(item, whole=True) for item in p.get("IntegerParameterRanges", [])]
    found += [_numbers(item, whole=False) for item in p.get("ContinuousParameterRanges", [])]
    found += [Categories(item["Name"], tuple(item["Values"])) for item in p.get("CategoricalParameterRanges", [])]
    names = [one.name for one in found]
    if not names:
        raise invalid("ParameterRanges must have at least one range")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise invalid(f"More than one range for hyperparameter {', '.join(twice)}")
    return found


def _numbers(item: dict[str, Any], *, whole: bool) -> Numbers:
    name, scale = item["Name"], item.get("ScalingType", "Auto")
    try:
        low, high = (float(int(item[end]) if whole else float(item[end])) for end in ("MinValue", "MaxValue"))
    except ValueError as error:
        raise invalid(f"MinValue and MaxValue of the range of {name} must be {'integers' if whole else 'numbers'}") from error
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise invalid(f"MinValue {item['MinValue']} of the range of {name} is greater than its MaxValue {item['MaxValue']}")
    if scale == "Auto":
        scale = "Logarithmic" if low > 0 and high >= low * ORDERS_OF_MAGNITUDE else "Linear"
    if scale == "Logarithmic" and low <= 0:
        raise invalid(f"ScalingType Logarithmic works only for ranges that have only values greater than 0: {name}")
    if scale == "ReverseLogarithmic" and (whole or low < 0 or high >= 1):
        raise invalid(f"ScalingType ReverseLogarithmic works only for continuous ranges that are entirely within 0<=x<1.0: {name}")
    return Numbers(name, low, high, scale, whole)


def invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
