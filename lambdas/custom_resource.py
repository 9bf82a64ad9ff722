"""What CloudFormation's custom resources answer with."""

import json
import urllib.request
from collections.abc import Callable
from typing import Any


def answered(event: dict[str, Any], work: Callable[[dict[str, Any]], None]) -> None:
    """Run `work` on the properties and PUT the response CloudFormation waits for, whatever happens."""
    status, reason = "SUCCESS", ""
    try:
        work(event["ResourceProperties"])
    except Exception as error:  # whatever it is, CloudFormation would wait an hour for an answer
        status, reason = "FAILED", f"{type(error).__name__}: {error}"
    body = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    body |= {"Status": status, "Reason": reason, "PhysicalResourceId": event.get("PhysicalResourceId", event["LogicalResourceId"])}
    request = urllib.request.Request(event["ResponseURL"], json.dumps(body).encode(), method="PUT", headers={"Content-Type": ""})
    urllib.request.urlopen(request, timeout=30).close()
