"""`localcloud`: start a local AWS, look whether it can start, or list what it knows."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from localcloud import KEY, REGION
from localcloud.cloud import LocalCloud, PortTaken
from localcloud.config import ConfigError, load_config
from localcloud.doctor import examine

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A local AWS on moto that executes what it is given.")
PORT = 4566
SIGNAL_S = 0.2


def exports(endpoint: str) -> str:
    """Shell lines that point boto3, aws and cdk at an endpoint."""
    values = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
    }
    return "\n".join(f"export {name}={value}" for name, value in values.items())


def wait_for_stop() -> None:
    """Return on Ctrl-C or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(SIGNAL_S):  # python runs the handler in this thread only, which must wake up for it: another may get the signal
        pass


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = PORT,
    config: Annotated[Path, typer.Option(help="Where localcloud.toml lies.")] = Path("localcloud.toml"),
) -> None:
    """Start, print the exports, and stay until Ctrl-C."""
    try:
        with LocalCloud(load_config(config), port) as cloud:
            typer.echo(exports(cloud.endpoint))
            typer.echo(f"# localcloud listens on {cloud.endpoint}; Ctrl-C stops it and all it started")
            wait_for_stop()
    except (PortTaken, ConfigError) as error:
        typer.echo(f"localcloud: {error}", err=True)
        raise typer.Exit(1) from error


@app.command()
def doctor(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = PORT,
    config: Annotated[Path, typer.Option(help="Where localcloud.toml lies.")] = Path("localcloud.toml"),
) -> None:
    """Say what is missing to run localcloud here, and what to do about it. Exit code 1 when something it needs is."""
    findings = list(examine(config, port))
    for finding in findings:
        mark = "ok     " if finding.ok else "MISSING" if finding.needed else "without"
        typer.echo(f"{mark} {finding.what}{'' if finding.ok else f' - {finding.advice}'}")
    if any(finding.needed and not finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command()
def types() -> None:
    """The CloudFormation types that are known, and their properties."""
    from localcloud.cloudformation.types import KNOWN
    from localcloud.cloudformation.types.properties import leaves

    for name in sorted(KNOWN):
        typer.echo(f"{name}: {', '.join(leaves(KNOWN[name].properties))}")


if __name__ == "__main__":
    app()
