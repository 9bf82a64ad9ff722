"""What a model answers, as people and programs read it: one record a row, the same from an endpoint, a golden request and a CSV line."""

from collections.abc import Sequence
from typing import Any

from tidemill.metric import Task


def answers(scores: Sequence[Any], task: Task, threshold: float, classes: Sequence[str]) -> list[dict[str, Any]]:
    """binary: score and label; multiclass: the likeliest label and every class's score; regression: value."""
    if task == "binary":
        return [{"score": score, "label": score >= threshold} for score in scores]
    if task == "regression":
        return [{"value": value} for value in scores]
    named = [dict(zip(classes, row, strict=True)) for row in scores]
    return [{"label": max(each, key=each.__getitem__), "scores": each} for each in named]


def csv_line(answer: dict[str, Any]) -> str:
    """score,label — or label and the scores in the order of the classes — or the value."""
    if "value" in answer:
        return f"{answer['value']!r}\n"
    if "scores" in answer:
        return ",".join([answer["label"], *map(repr, answer["scores"].values())]) + "\n"
    return f"{answer['score']!r},{str(answer['label']).lower()}\n"
