"""A run as experiment trackers know one: parameters, metrics, tags, in the terms that MLflow made common."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from tidemill import keys
from tidemill.evaluate.record import Evaluation, Scores
from tidemill.records import Run
from tidemill.spec import ModelSpec

PARAM_CHARS = 500
"""Values of parameters that every version of MLflow takes."""
NOTE = "mlflow.note.content"
"""The tag that MLflow shows as a run's description: mlflow.org/docs/latest/ml/tracking/tracking-api/#system-tags"""


@dataclass(frozen=True)
class Tracked:
    """identity: the tag that finds this run again, and its value; times in ms; dataset: its id and where its manifest lies, if there is one."""

    name: str
    identity: tuple[str, str]
    failed: bool
    started_ms: int
    ended_ms: int
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    dataset: tuple[str, str] | None


def tracked(run: Run, spec: ModelSpec, evaluation: Evaluation | None, stage: str, lake_uri: str) -> Tracked:
    """A run that has ended. `lake_uri`: where its records lie."""
    name = keys.run_id(run.epoch)
    tags = {
        "tidemill.stage": stage, "tidemill.model": run.model, "tidemill.run": name, "tidemill.cause": run.cause, "tidemill.outcome": run.outcome,
        "tidemill.decision": run.decision, "tidemill.package": run.package,
        "tidemill.report": f"{lake_uri}{keys.report(run.model, name)}" if run.decision else None, NOTE: _note(run),
    }  # fmt: skip
    return Tracked(
        name=f"{run.model}-{name}",
        identity=("tidemill.execution", run.execution),
        failed=run.outcome == "failed",
        started_ms=_ms(run.started_at),
        ended_ms=_ms(run.finished_at or run.started_at),
        params=_params(run, spec, evaluation),
        metrics={name: value for name, value in _metrics(evaluation) if math.isfinite(value)} if evaluation else {},
        tags={name: value for name, value in tags.items() if value},
        dataset=(run.dataset, f"{lake_uri}{keys.dataset_manifest(run.model, run.dataset)}") if run.dataset else None,
    )


def _note(run: Run) -> str:
    """Markdown."""
    return "\n".join((f"**{run.decision or run.outcome}**", "", *(f"- {reason}" for reason in run.reasons)))


def _params(run: Run, spec: ModelSpec, evaluation: Evaluation | None) -> dict[str, str]:
    train, data = spec.train, spec.data
    told = {
        "estimator": train.estimator, "scale": train.scale, "instances": train.instances, "seed": train.seed, "balance": train.balance,
        "calibrate": train.calibrate, "window": data.window, "split_by": data.split.by, "primary": spec.primary, "spec": run.spec_hash,
        "code": run.code_hash, "dataset": run.dataset or "", "period": evaluation.period if evaluation else "",
    }  # fmt: skip
    settings = evaluation.settings if evaluation else train.settings
    told |= {f"settings.{name}": value for name, value in settings.items()}
    return {name: str(value)[:PARAM_CHARS] for name, value in told.items() if value != ""}


def _metrics(found: Evaluation) -> Iterator[tuple[str, float]]:
    """The challenger's metrics with their bounds; what it was set beside; what it costs."""
    yield from _scores("", found.challenger)
    yield from _scores("linear.", found.baseline)
    for name, former in (("champion.", found.champion), ("best.", found.best)):
        if former is not None:
            yield from _scores(name, former.scores)
            yield f"{name}gain", former.gain.value
            yield f"{name}gain.low", former.gain.low
            yield f"{name}gain.high", former.gain.high
    yield "rows", float(found.rows)
    if found.size_bytes is not None:
        yield "size_bytes", float(found.size_bytes)
    if found.latency_ms is not None:
        yield "latency_ms", found.latency_ms


def _scores(prefix: str, scores: Scores) -> Iterator[tuple[str, float]]:
    for metric, interval in scores.metrics.items():
        yield f"{prefix}{metric}", interval.value
        yield f"{prefix}{metric}.low", interval.low
        yield f"{prefix}{metric}.high", interval.high


def _ms(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)
