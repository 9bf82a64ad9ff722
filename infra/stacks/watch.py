"""watch: the dashboard that shows runs, queues and endpoints on one page. The alarms live beside what they watch."""

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.models import Model
from infra.settings import Stage
from infra.stacks.serving import VARIANT, ServingStack
from infra.stacks.training import TrainingStack
from tidemill import keys

MINUTE = Duration.minutes(1)


class WatchStack(Stack):
    """One dashboard a stage."""

    def __init__(
        self, scope: Construct, name: str, *, stage: Stage, models: tuple[Model, ...], training: TrainingStack, serving: ServingStack
    ) -> None:
        super().__init__(scope, name, description=f"Tidemill {stage.name}: dashboard")
        runs, releases = training.machine.machine, serving.machine.machine
        dashboard = cloudwatch.Dashboard(self, "Dashboard", default_interval=Duration.hours(12))
        dashboard.add_widgets(
            _graph("Training runs", [runs.metric_succeeded(), runs.metric_failed(), runs.metric_timed_out()]),
            _graph("Releases", [releases.metric_succeeded(), releases.metric_failed()]),
            _graph(
                "Queues",
                [
                    training.intake_queue.queue.metric_approximate_number_of_messages_visible(label="intake", period=MINUTE),
                    training.tick_queue.queue.metric_approximate_number_of_messages_visible(label="ticks", period=MINUTE),
                    training.intake_queue.dead.metric_approximate_number_of_messages_visible(label="intake, dead", period=MINUTE),
                    training.tick_queue.dead.metric_approximate_number_of_messages_visible(label="ticks, dead", period=MINUTE),
                ],
            ),
        )
        for model in models:
            endpoint = keys.endpoint_name(stage.name, model.spec.name)
            dashboard.add_widgets(
                _graph(f"{endpoint}: predictions", [_endpoint(endpoint, "Invocations", "Sum")]),
                _graph(f"{endpoint}: errors", [_endpoint(endpoint, "Invocation5XXErrors", "Sum"), _endpoint(endpoint, "Invocation4XXErrors", "Sum")]),
                _graph(f"{endpoint}: latency (µs)", [_endpoint(endpoint, "ModelLatency", "p50"), _endpoint(endpoint, "ModelLatency", "p95")]),
            )


def _graph(title: str, metrics: list[cloudwatch.IMetric]) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=metrics, width=8)


def _endpoint(endpoint: str, name: str, statistic: str) -> cloudwatch.IMetric:
    dimensions = {"EndpointName": endpoint, "VariantName": VARIANT}
    return cloudwatch.Metric(namespace="AWS/SageMaker", metric_name=name, dimensions_map=dimensions, statistic=statistic, period=MINUTE)
