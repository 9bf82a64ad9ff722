"""The CDK app. The only place that reads stage and context.

`-c stage=dev` names the deployment (default: dev; `local` is for localcloud), `-c email=you@example.com` subscribes to alerts.
"""

import aws_cdk as cdk

from infra.bundle import ensure
from infra.models import load_models
from infra.settings import stage
from infra.stacks.data import DataStack
from infra.stacks.image import ImageStack
from infra.stacks.serving import ServingStack
from infra.stacks.training import TrainingStack
from infra.stacks.watch import WatchStack


def build(app: cdk.App) -> None:
    """Add the stacks of the stage that the context names."""
    settings = stage(app.node.try_get_context("stage") or "dev", app.node.try_get_context("email"))
    ensure(settings)
    models = load_models()
    prefix = f"tidemill-{settings.name}"
    data = DataStack(app, f"{prefix}-data", stage=settings)
    image = ImageStack(app, f"{prefix}-image", stage=settings)
    training = TrainingStack(app, f"{prefix}-training", stage=settings, models=models, data=data, image=image)
    serving = ServingStack(app, f"{prefix}-serving", stage=settings, models=models, data=data, image=image)
    WatchStack(app, f"{prefix}-watch", stage=settings, models=models, training=training, serving=serving)
    cdk.Tags.of(app).add("tidemill:stage", settings.name)


if __name__ == "__main__":
    app = cdk.App()
    build(app)
    app.synth()
