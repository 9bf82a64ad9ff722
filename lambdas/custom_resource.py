"""What CloudFormation's custom resources answer with."""

import json
import urllib.request
from collections.abc import Callable
from typing import Any


def answered(event: dict[str, Any], work: Callable[[dict[str, Any]], None], named_by: str | None = None) -> None:
    """Run `work` on the properties and PUT the response CloudFormation waits for, whatever happens.

    named_by: the property that is the resource's identity; when it changes, CloudFormation sends a Delete for the old one.
    """
    status, reason = "SUCCESS", ""
    try:
        work(event["ResourceProperties"])
    except Exception as error:  # whatever it is, CloudFormation would wait an hour for an answer
        status, reason = "FAILED", f"{type(error).__name__}: {error}"
    body = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    own = event["ResourceProperties"][named_by] if named_by else event["LogicalResourceId"]
    physical_id = event["PhysicalResourceId"] if event["RequestType"] == "Delete" else own
    body |= {"Status": status, "Reason": reason, "PhysicalResourceId": physical_id}
    request = urllib.request.Request(event["ResponseURL"], json.dumps(body).encode(), method="PUT", headers={"Content-Type": ""})
    urllib.request.urlopen(request, timeout=30).close()
