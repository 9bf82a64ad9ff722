"""The CDK app. The only place that reads stage and context.

`-c stage=dev` names the deployment (default: dev; `local` is for localcloud), `-c email=you@example.com` subscribes to alerts,
`-c models=<folder>` takes the models of another folder than `models/`, `-c large_bytes=1000000` is from what size on uploads go to Glue.
"""

from pathlib import Path

import aws_cdk as cdk

from infra.bundle import ensure
from infra.models import load_models
from infra.settings import glue_stage, stage
from infra.stacks.catalog import CatalogStack
from infra.stacks.data import DataStack
from infra.stacks.image import ImageStack
from infra.stacks.serving import ServingStack
from infra.stacks.training import TrainingStack
from infra.stacks.watch import WatchStack


def build(app: cdk.App) -> None:
    """Add the stacks of the stage that the context names."""
    context = app.node.try_get_context
    settings = stage(context("stage") or "dev", context("email"), int(context("large_bytes") or 1024**3))
    ensure(settings)
    ensure(glue_stage(settings))
    folder = context("models")
    models = load_models(Path(folder)) if folder else load_models()
    prefix = f"tidemill-{settings.name}"
    data = DataStack(app, f"{prefix}-data", stage=settings)
    image = ImageStack(app, f"{prefix}-image", stage=settings)
    training = TrainingStack(app, f"{prefix}-training", stage=settings, models=models, data=data, image=image)
    serving = ServingStack(app, f"{prefix}-serving", stage=settings, models=models, data=data, image=image)
    WatchStack(app, f"{prefix}-watch", stage=settings, models=models, training=training, serving=serving)
    CatalogStack(app, f"{prefix}-catalog", stage=settings, models=models, data=data)
    cdk.Tags.of(app).add("tidemill:stage", settings.name)


if __name__ == "__main__":
    app = cdk.App()
    build(app)
    app.synth()
