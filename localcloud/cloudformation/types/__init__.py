"""The resource types localcloud knows: one table a service."""

from localcloud.cloudformation.types import analytics, compute, events, identity, observe, storage
from localcloud.cloudformation.types.base import ResourceType

KNOWN: dict[str, ResourceType] = {
    resource.name: resource for module in (analytics, compute, events, identity, observe, storage) for resource in module.TYPES
}
