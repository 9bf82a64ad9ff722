"""The resource types localcloud knows: one table a service."""

from localcloud.cloudformation.types import compute, events, identity, observe, storage
from localcloud.cloudformation.types.base import ResourceType

KNOWN: dict[str, ResourceType] = {resource.name: resource for module in (compute, events, identity, observe, storage) for resource in module.TYPES}
