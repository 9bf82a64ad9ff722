"""export: a run that has ended, on the MLflow server that the spec names."""

from collections.abc import Callable
from typing import Any

from tidemill.errors import TrackingFailed
from tidemill.evaluate.record import Evaluation
from tidemill.events import RunRef
from tidemill.experiments import tracked
from tidemill.ports import Experiments, Ledger, Store
from tidemill.spec import ExperimentsSpec
from tidemill.steps.pinned import pinned_spec


def export_run(
    request: RunRef, stage: str, *, ledger: Ledger, lake: Store, server: Callable[[str], Experiments], to: str | None = None
) -> dict[str, Any]:  # fmt: skip
    """Where the run is now; nothing where it ended before it had anything to learn from. `to`: a server instead of the spec's.

    Safe to repeat. Raises TrackingFailed where no server is named, or it refuses.
    """
    run = ledger.run(request.model, request.epoch)
    if run.dataset is None:
        return {}
    spec = pinned_spec(run.model, run.code_hash, lake)
    place = ExperimentsSpec(mlflow=to, experiment=spec.experiments.experiment if spec.experiments else None) if to else spec.experiments
    if place is None:
        raise TrackingFailed(f"{run.model}: model.toml names no server: set experiments.mlflow, or name one")
    evaluation = Evaluation.model_validate_json(lake.get(run.evaluation)) if run.evaluation else None
    experiment = place.experiment or f"{stage}/{run.model}"
    number = server(place.mlflow).track(experiment, tracked(run, spec, evaluation, stage, lake.uri("")))
    return {"server": place.mlflow, "experiment": experiment, "mlflow_run": number}
