"""Follow an execution: its states as they end, with a line about what each did."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tidemill.evaluate.record import Evaluation, figure

PATIENCE_S = 300
POLL_S = 0.1


class RunFailed(Exception):
    """An execution did not succeed, or did not appear."""


@dataclass(frozen=True)
class StateEnded:
    """A state that ended: seconds it took, its output, the execution it belongs to."""

    name: str
    seconds: float
    output: Any


def wait_for(machine: str, number: int, stepfunctions: Any) -> str:
    """The ARN of the machine's `number`-th execution, as soon as there is one."""
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        found = stepfunctions.list_executions(stateMachineArn=machine)["executions"]
        if len(found) >= number:
            return str(found[-number]["executionArn"])
        time.sleep(POLL_S)
    raise RunFailed(f"no execution of {machine.rpartition(':')[2]} within {PATIENCE_S} s")


def states(execution: str, stepfunctions: Any) -> Iterator[StateEnded]:
    """States as they end, until the execution does. Raises RunFailed with its error and cause."""
    entered: dict[str, datetime] = {}
    seen = 0
    ends = time.monotonic() + PATIENCE_S
    while True:
        status = stepfunctions.describe_execution(executionArn=execution)
        pages = stepfunctions.get_paginator("get_execution_history").paginate(executionArn=execution)
        events = [event for page in pages for event in page["events"]]
        for event in events[seen:]:
            if detail := event.get("stateEnteredEventDetails"):
                entered.setdefault(detail["name"], event["timestamp"])
            elif detail := event.get("stateExitedEventDetails"):
                seconds = (event["timestamp"] - entered.get(detail["name"], event["timestamp"])).total_seconds()
                yield StateEnded(detail["name"], seconds, json.loads(detail["output"]))
        seen = len(events)
        if status["status"] != "RUNNING":
            break
        if time.monotonic() > ends:
            raise RunFailed(f"{execution}: still running after {PATIENCE_S} s")
        time.sleep(POLL_S)
    if status["status"] != "SUCCEEDED":
        raise RunFailed(f"{execution.rpartition(':')[2]}: {status['status']}: {status.get('error', '')}: {status.get('cause', '')}")


@dataclass(frozen=True)
class Sources:
    """Where the lines come from beside the states' own outputs: evaluation.json, and what a training job printed last."""

    evaluation: Callable[[], Evaluation]
    training_log: Callable[[str], str]


def line_of(state: StateEnded, sources: Sources) -> str | None:
    """What a person wants to know of a state; None for states that only route."""
    output = state.output
    if isinstance(output, dict) and output.keys() == {"Error", "Cause"}:  # a Catch took the state's failure
        if state.name == "Live":
            return "no live endpoint yet: it is made now"
        return f"[red]failed[/]  {output['Error']}"
    match state.name:
        case "Prepare":
            return "; ".join(_prepared(bin_) for bin_ in output)
        case "Assemble":
            if output["stop"]:
                return f"stops here: {'; '.join(output['reasons'])}"
            covers = output["covers"]
            return f"{covers['train']['rows']:,} rows of {covers['train']['period']} to learn from, held out: {covers['test']['period']}"
        case "Train" | "Tune":
            return _trained(output, sources)
        case "Evaluate":
            e = sources.evaluation()
            against = f", champion {e.champion.scores[e.primary]}" if e.champion else ""
            return f"{e.headline} on {e.rows:,} rows of {e.period}, linear baseline {figure(e.baseline[e.primary].value)}{against}"
        case "Gate":
            return "\n".join((f"[bold]{output['decision']}[/]", *(f"              - {reason}" for reason in output["reasons"])))
        case "Register":
            return f"{output['package']} {'approved (auto)' if output['approved'] else 'waits for approval'}"
        case "Smoke":
            return f"{output['golden']} golden requests answered as evaluated, on a candidate endpoint"
        case "Confirm":
            return f"live endpoint answers as {output['answered_by']}"
    return None


def _trained(output: dict[str, Any], sources: Sources) -> str:
    """A training job's last words, or the best job of a search."""
    if "BestTrainingJob" not in output:
        return sources.training_log(output["TrainingJobName"])
    best = output["BestTrainingJob"]
    tuned = ", ".join(f"{name} {value}" for name, value in best["TunedHyperParameters"].items())
    return f"{output['TrainingJobStatusCounters']['Completed']} jobs of a search, the best {best['TrainingJobName']}: {tuned}"


def _prepared(summary: dict[str, Any]) -> str:
    if failure := summary.get("failure"):
        return f"[red]failed[/]  {failure['error']}"
    without = summary["kept"] - summary["labelled"]
    kept = f"{summary['kept']:,} rows kept ({without:,} without outcome), {summary['rejected']:,} rejected"
    return "; ".join((kept, *(f"refused {text}" for text in summary["first_refused"])))
