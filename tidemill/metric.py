"""The tasks a model can have and the metrics that judge them: which way is better, and how people write them."""

import math
from dataclasses import dataclass
from typing import Literal

Task = Literal["binary", "multiclass", "regression"]
Metric = Literal["roc_auc", "average_precision", "log_loss", "brier", "accuracy", "f1_macro", "rmse", "mae", "r2"]


@dataclass(frozen=True)
class Kind:
    """`name` for people; `higher`: more is better; `tasks` it can judge; no value lies below `least` or above `most`."""

    name: str
    higher: bool
    tasks: tuple[Task, ...]
    least: float = 0.0
    most: float = math.inf


KINDS: dict[Metric, Kind] = {
    "roc_auc": Kind("AUC", higher=True, tasks=("binary",), most=1),
    "average_precision": Kind("average precision", higher=True, tasks=("binary",), most=1),
    "log_loss": Kind("log loss", higher=False, tasks=("binary", "multiclass")),
    "brier": Kind("Brier score", higher=False, tasks=("binary",), most=1),
    "accuracy": Kind("accuracy", higher=True, tasks=("binary", "multiclass"), most=1),
    "f1_macro": Kind("macro F1", higher=True, tasks=("multiclass",), most=1),
    "rmse": Kind("RMSE", higher=False, tasks=("regression",)),
    "mae": Kind("MAE", higher=False, tasks=("regression",)),
    "r2": Kind("R²", higher=True, tasks=("regression",), least=-math.inf, most=1),
}
PRIMARY: dict[Task, Metric] = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}
"""The metric that decides when the spec names none: proper, and with few rows to spare the most telling."""


def metrics_of(task: Task) -> tuple[Metric, ...]:
    return tuple(metric for metric, kind in KINDS.items() if task in kind.tasks)
