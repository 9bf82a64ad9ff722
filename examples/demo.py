"""`make demo`: real flights go in, a real model goes live, the next months challenge it. Then everything is stopped.

`--stay` (make up) deploys, prints how to reach it, and stays. `--year` (make year) uploads twelve months one by one and prints every decision.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console

from examples import follow, stage
from localcloud.cli import PORT, exports, wait_for_stop
from localcloud.cloud import LocalCloud, PortTaken
from localcloud.config import ConfigError, load_config
from tidemill.adapters.ledger import DynamoLedger
from tidemill.cli.flights import month_csv
from tidemill.evaluate.record import Evaluation
from tidemill.keys import run_id

LOG_LINES = 40
SHOWN_FLIGHTS = 8
NEWLINE = b"\n"


@dataclass
class Demo:
    """The story, told on a console."""

    cloud: LocalCloud
    console: Console
    outputs: dict[str, str] = field(default_factory=dict)
    releases: int = 0

    def deploy(self) -> None:
        started = time.monotonic()
        with self.console.status("cdk bootstrap, synth, deploy --all ..."):
            self.outputs = stage.deploy(self.cloud)
        stacks, resources = stage.count(self.cloud)
        self.say("deploy", f"{stacks} stacks, {resources} resources, by the CDK CLI", time.monotonic() - started)

    def months(self, number: int, *months: int) -> None:
        """Upload months of 2013 together and follow their run, the model's `number`-th, to the endpoint."""
        files = {f"2013-{month:02d}.csv": month_csv(month) for month in months}
        for name, data in files.items():
            self.cloud.clients("s3").put_object(Bucket=self.outputs["LandingBucket"], Key=f"flights/data/{name}", Body=data)
        self.console.print()
        for name, data in files.items():
            self.say("upload", f"flights/data/{name}   {data.count(NEWLINE) - 1:,} rows, {len(data) / 1e6:.1f} MB")
        promoted = self.follow("TrainingMachine", number, f"run {run_id(number)}", f"cause: upload of {' and '.join(files)}")
        if promoted:
            self.releases += 1
            self.follow("ReleaseMachine", self.releases, "release", f"flights/{self.releases} → endpoint {self.outputs['EndpointFlights']}")
        else:
            self.say("", "the champion stays")

    def follow(self, machine: str, number: int, title: str, about: str) -> bool:
        """Print states as they end; True when the machine ended in a registered package or a live one."""
        stepfunctions = self.cloud.clients("stepfunctions")
        with self.console.status(f"{title} ..."):
            execution = follow.wait_for(self.outputs[machine], number, stepfunctions)
            self.say(title, about)
            output: Any = None
            for state in follow.states(execution, stepfunctions):
                output = state.output
                if (line := follow.line_of(state, follow.Sources(lambda: self.evaluation(number), self.training_log))) is not None:
                    self.say(f"  {state.name.lower()}", line, state.seconds)
        return bool(output and output.get("outcome") in ("registered", "live"))

    def evaluation(self, number: int) -> Evaluation:
        key = f"flights/runs/{run_id(number)}/evaluate/0/evaluation.json"
        return Evaluation.model_validate_json(self.cloud.clients("s3").get_object(Bucket=self.outputs["LakeBucket"], Key=key)["Body"].read())

    def training_log(self, job: str) -> str:
        """The last line a training job printed."""
        self.cloud.logs.flush()
        events = self.cloud.clients("logs").get_log_events(logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=f"{job}/algo-1")["events"]
        return str(events[-1]["message"])

    def predict(self) -> None:
        """Ask the live endpoint about flights of February, a month it has not seen."""
        flights = pl.read_csv(month_csv(2)).filter(pl.col("late").is_not_null()).sample(SHOWN_FLIGHTS, seed=2013)
        body = json.dumps({"instances": flights.drop("late", "flight_id", "time_hour", "tailnum").to_dicts()})
        answer = self.cloud.clients("sagemaker-runtime").invoke_endpoint(
            EndpointName=self.outputs["EndpointFlights"], ContentType="application/json", Body=body
        )
        said = json.loads(answer["Body"].read())
        self.console.print()
        self.say("predict", f"{SHOWN_FLIGHTS} flights of February through boto3, answered by {said['model']}")
        for flight, prediction in zip(flights.to_dicts(), said["predictions"], strict=True):
            guess, truth = ("late" if value else "on time" for value in (prediction["label"], flight["late"]))
            mark = "[green]✓[/]" if prediction["label"] == flight["late"] else "[red]✗[/]"
            name = f"{flight['carrier']} {flight['origin']}-{flight['dest']} {flight['time_hour'][:10]} {flight['hour']:02d}h"
            self.console.print(f"              {name}   p(late) {prediction['score']:.2f}   said {guess:<8} was {truth:<8} {mark}")

    def decisions(self) -> None:
        """The decision log as it stands in the ledger, each entry chained to the one before."""
        ledger = DynamoLedger(self.outputs["LedgerTable"], self.cloud.clients("dynamodb"))
        self.console.print()
        self.say("decisions", "of the whole year, from the ledger")
        for entry in ledger.decisions("flights"):
            self.say(
                f"  {entry.seq:>2} {entry.kind}", f"{entry.subject}: {entry.decision}" + "".join(f"\n              - {why}" for why in entry.reasons)
            )

    def permissions(self) -> None:
        """Every call was checked against the policies of the role that made it: how many, and which were denied."""
        roles = [(record, count) for record, count in self.cloud.recorder.calls() if record.caller.startswith("arn:")]
        denied = [str(record) for record, _ in roles if not record.allowed]
        callers = len({record.caller for record, _ in roles})
        self.console.print()
        told = "\n".join(denied) if denied else ""
        self.say(
            "permissions", f"{sum(count for _, count in roles):,} calls of {callers} roles checked, {len(denied) or 'none'} denied\n{told}".rstrip()
        )

    def say(self, what: str, text: str, seconds: float | None = None) -> None:
        first, _, rest = text.partition("\n")
        took = f"   [dim]{seconds:.1f} s[/]" if seconds is not None else ""
        self.console.print(f"[cyan]{what:<12}[/]  {first}{took}", *([rest] if rest else []), sep="\n", highlight=False, soft_wrap=True)

    def show_logs(self) -> None:
        """The newest log lines of everything, for a failed step."""
        self.cloud.logs.flush()
        logs = self.cloud.clients("logs")
        lines = []
        for group in (g["logGroupName"] for g in logs.describe_log_groups()["logGroups"]):
            for log_stream in logs.describe_log_streams(logGroupName=group)["logStreams"]:
                events = logs.get_log_events(logGroupName=group, logStreamName=log_stream["logStreamName"])["events"]
                lines += [(event["timestamp"], group, event["message"]) for event in events]
        for _, group, message in sorted(lines)[-LOG_LINES:]:
            self.console.print(f"[dim]{group}[/] {message}", highlight=False, markup=True, soft_wrap=True)


@contextmanager
def localcloud(console: Console, config: Path, port: int) -> Iterator[LocalCloud]:
    started = time.monotonic()
    with LocalCloud(load_config(config), port) as cloud:
        console.print(f"[cyan]{'localcloud':<12}[/]  {cloud.endpoint}   ready in {time.monotonic() - started:.1f} s", highlight=False)
        yield cloud


def tell(demo: Demo) -> None:
    demo.deploy()
    demo.months(1, 1)
    demo.predict()
    demo.months(2, 2, 3)
    demo.permissions()


def year(demo: Demo) -> None:
    """January to December 2013 as twelve uploads."""
    demo.deploy()
    for month in range(1, 13):
        demo.months(month, month)
    demo.decisions()
    demo.permissions()


def stay(demo: Demo) -> None:
    demo.deploy()
    demo.console.print(f"\n{exports(demo.cloud.endpoint)}\n", highlight=False)
    demo.console.print(
        f"tidemill example flights --month 1 && aws s3 cp 2013-01.csv s3://{demo.outputs['LandingBucket']}/flights/data/", soft_wrap=True
    )
    demo.console.print("Ctrl-C stops it all.")
    wait_for_stop()


def main(
    staying: Annotated[bool, typer.Option("--stay", help="Deploy, print the exports, and stay until Ctrl-C.")] = False,
    whole_year: Annotated[bool, typer.Option("--year", help="Twelve months, one upload each, and every decision.")] = False,
    config: Annotated[Path, typer.Option(help="Where localcloud.toml lies.")] = stage.ROOT / "localcloud.toml",
) -> None:
    """Real flights through the whole flow on this machine. Exit code 1, with the log, when a step fails."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    started = time.monotonic()
    try:
        with localcloud(console, config, PORT if staying else 0) as cloud:
            demo = Demo(cloud, console)
            try:
                (stay if staying else year if whole_year else tell)(demo)
            except (follow.RunFailed, stage.CommandFailed) as error:
                demo.show_logs()
                console.print(f"\n[red]failed:[/] {error}", highlight=False, soft_wrap=True)
                raise typer.Exit(1) from error
    except (PortTaken, ConfigError) as error:
        console.print(f"[red]failed:[/] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    console.print(f"\nall of it stopped, {time.monotonic() - started:.0f} s in all", highlight=False)


if __name__ == "__main__":
    typer.run(main)
