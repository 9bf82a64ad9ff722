"""One permission that a request asks for, and how ARNs are made from a request's parameters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.errors import NotSupported
from localcloud.iam.operations import ALL

PLACEHOLDER = re.compile(r"\{(\w+)\}")
Context = Mapping[str, tuple[str, ...]]
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Need:
    """One permission: `resource` is an ARN, or `*` for an action that has none. `context` holds what only this request knows."""

    action: str
    resource: str
    context: Context = field(default_factory=dict)


def unknown(service: str, operation: str) -> NotSupported:
    return NotSupported(f"permissions of {service}:{operation}: localcloud/iam/operations.py does not say which resource it asks for")


def fill(prefix: str, template: str, p: Parameters) -> str:
    """An ARN from a template; a value that is an ARN already stands for itself, one that was not given may be any: `*`."""
    given: dict[str, str] = {"account": ACCOUNT, "region": REGION} | {
        name: str(p.get(name) or "") for name in PLACEHOLDER.findall(template) if name in p
    }
    for value in given.values():
        if value == ALL or value.startswith("arn:"):
            return value
    text = PLACEHOLDER.sub(lambda match: given.get(match[1], "*"), template)
    return text if template == ALL or text.startswith("arn:") else f"arn:aws:{prefix}:{REGION}:{ACCOUNT}:{text}".replace("parameter//", "parameter/")
