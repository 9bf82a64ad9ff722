"""release: names of what a release makes, and whether an endpoint answers as its evaluation did."""

import json
from collections.abc import Sequence
from typing import Any

from tidemill.evaluate.record import GoldenRequest

TOLERANCE = 1e-9
"""Of a number up to 1; relative to a larger one."""


def resource_name(stage: str, model: str, version: int, deployment: str) -> str:
    """The SageMaker model and endpoint config of a package; deployment keeps names apart after a destroy."""
    return f"{stage}-{model}-{version}-{deployment}"


def candidate_name(stage: str, model: str, version: int, deployment: str) -> str:
    """The endpoint a package is smoke-tested on before the live one is touched; its own, since deleting one takes a while."""
    return f"{resource_name(stage, model, version, deployment)}-candidate"


def golden_body(golden: Sequence[GoldenRequest]) -> bytes:
    return json.dumps({"instances": [request.instance for request in golden]}).encode()


def differences(golden: Sequence[GoldenRequest], answer: dict[str, Any]) -> list[str]:
    """Where an endpoint's answer is not what the evaluation recorded; empty when all is equal within TOLERANCE."""
    predictions = answer.get("predictions", [])
    if len(predictions) != len(golden):
        return [f"{len(golden)} golden requests, {len(predictions)} answers"]
    pairs = zip(golden, predictions, strict=True)
    return [f"golden request {i}: {got!r}, evaluation had {want.answer!r}" for i, (want, got) in enumerate(pairs) if not _same(want.answer, got)]


def _same(want: Any, got: Any) -> bool:
    if isinstance(want, dict):
        return isinstance(got, dict) and want.keys() == got.keys() and all(_same(want[name], got[name]) for name in want)
    if isinstance(want, float):
        return isinstance(got, int | float) and abs(want - got) <= TOLERANCE * max(1.0, abs(want))
    return bool(want == got)
