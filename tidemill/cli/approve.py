"""`tidemill approve`, `tidemill reject`: a person decides on a package that waits for one. `tidemill waive`: on a champion that nothing can be compared with."""

from typing import Annotated

import typer

from tidemill.cli.stage import Model, Stage, StageName, now
from tidemill.steps.approve import Verdict, decide_on, waive_comparison

Version = Annotated[int, typer.Argument(min=1, help="The package's version: 3 for flights/3.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it goes into the decision log and onto the package.")]


def approve(model: Model, version: Version, reason: Reason, stage: StageName = "dev") -> None:
    """Approve a package: its release starts."""
    _decide(model, version, "approve", reason, stage)
    typer.echo(f"{model}/{version}: approved, its release starts")


def reject(model: Model, version: Version, reason: Reason, stage: StageName = "dev") -> None:
    """Reject a package for good: no later approval, here or in the console, releases it."""
    _decide(model, version, "reject", reason, stage)
    typer.echo(f"{model}/{version}: rejected, it cannot be released any more")


def waive(model: Model, version: Version, reason: Reason, stage: StageName = "dev") -> None:
    """Let challengers be judged without the champion, where it cannot score their rows: the next run's gate no longer holds them for that."""
    from tidemill.adapters.deployment import caller

    at = Stage.of(stage)
    waive_comparison(model, version, reason, caller(), now(), ledger=at.ledger, lake=at.lake)
    typer.echo(f"{model}/{version}: a challenger that cannot be compared with it is judged without it, until another package is live")


def _decide(model: str, version: int, verdict: Verdict, reason: str, stage: str) -> None:
    from tidemill.adapters.aws import SageMakerRegistry
    from tidemill.adapters.deployment import caller

    at = Stage.of(stage)
    decide_on(model, version, verdict, reason, caller(), now(), ledger=at.ledger, registry=SageMakerRegistry())
