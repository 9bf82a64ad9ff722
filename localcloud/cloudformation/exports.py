"""Exports of all stacks, and who imports them.

Source: docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-exports.html
"""

from collections.abc import Mapping
from typing import Any

from localcloud.cloudformation.stack import Stack
from localcloud.errors import ServiceError


class AllExports:
    """A view of the stacks, by name."""

    def __init__(self, stacks: Mapping[str, Stack]) -> None:
        self._stacks = stacks

    def value(self, name: str) -> Any:
        """Raises ValidationError when nobody exports it."""
        for stack in self._stacks.values():
            if name in stack.exports():
                return stack.exports()[name]
        raise ServiceError("ValidationError", f"No export named {name} found.")

    def importers(self, name: str) -> list[str]:
        return [stack.name for stack in self._stacks.values() if name in stack.imports]

    def check(self, stack: Stack, outputs: list[dict[str, Any]]) -> None:
        """Raises ValidationError when these outputs would take an export from its users, or a name from its owner."""
        now = {output["ExportName"]: output["OutputValue"] for output in outputs if "ExportName" in output}
        for name in now:
            for other in self._stacks.values():
                if other is not stack and name in other.exports():
                    raise ServiceError("ValidationError", f"Export with name {name} is already exported by stack {other.name}.")
        for name, value in stack.exports().items():
            users = ", ".join(self.importers(name))
            if users and name not in now:
                raise ServiceError("ValidationError", f"Delete canceled. Cannot delete export {name} as it is in use by {users}.")
            if users and now[name] != value:
                raise ServiceError("ValidationError", f"Export {name} cannot be updated as it is in use by {users}")
