"""export: a run that has ended, on the MLflow server that the spec names."""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from tidemill import keys
from tidemill.errors import TrackingFailed
from tidemill.evaluate.record import Evaluation
from tidemill.events import RunRef
from tidemill.experiments import tracked
from tidemill.ports import Experiments, Ledger, Store
from tidemill.spec import ExperimentsSpec, ModelSpec
from tidemill.steps.pinned import pinned_spec


def export_run(
    request: RunRef, stage: str, *, ledger: Ledger, lake: Store, server: Callable[[str], Experiments], to: str | None = None
) -> dict[str, Any]:  # fmt: skip
    """Where the run is now; nothing where it ended before it had anything to learn from. `to`: a server instead of the spec's.

    Safe to repeat. Raises TrackingFailed for a run that has not ended, where no server is named, or it refuses.
    """
    run = ledger.run(request.model, request.epoch)
    if run.outcome is None:
        raise TrackingFailed(f"run {keys.run_id(run.epoch)} of {run.model} has not ended: it is told when it has")
    if run.dataset is None:
        return {}
    place = _place(pinned := pinned_spec(run.model, run.code_hash, lake), to)
    evaluation = Evaluation.model_validate_json(lake.get(run.evaluation)) if run.evaluation else None
    experiment = place.experiment or f"{stage}/{run.model}"
    number = server(place.mlflow).track(experiment, tracked(run, pinned, evaluation, stage, lake.uri("")))
    return {"server": place.mlflow, "experiment": experiment, "mlflow_run": number}


def _place(spec: ModelSpec, to: str | None) -> ExperimentsSpec:
    if to is None:
        if spec.experiments is None:
            raise TrackingFailed(f"{spec.name}: model.toml names no server: set experiments.mlflow, or name one")
        return spec.experiments
    try:
        return ExperimentsSpec(mlflow=to, experiment=spec.experiments.experiment if spec.experiments else None)
    except ValidationError as error:
        raise TrackingFailed(f"'{to}': {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
