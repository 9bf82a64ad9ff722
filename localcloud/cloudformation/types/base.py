"""What the engine asks of a resource type, and a builder for the many that one API call makes."""

import secrets
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from localcloud.clients import Clients
from localcloud.cloudformation.types.properties import Tree, tree, unknown
from localcloud.shapes import coerce, input_shape, members
from localcloud.shapes import unknown as unknown_to_shape

Properties = dict[str, Any]
SUFFIX = string.ascii_uppercase + string.digits


@dataclass(frozen=True)
class Context:
    """What a handler may use. `name` is the physical name to give when the template gives none."""

    clients: Clients
    stack: str
    stack_id: str
    logical_id: str
    begun: list[str] = field(default_factory=list)
    """Physical ids that exist already; what fails after that is taken back."""

    def name(self, limit: int = 64, separator: str = "-") -> str:
        """`<stack>-<logical id>-<random>`, cut from the middle to the limit, as CloudFormation names things."""
        suffix = self._suffix()
        room = limit - len(suffix) - 2
        logical = self.logical_id[: room // 2]
        return separator.join((self.stack[: room - len(logical)], logical, suffix))

    def short_name(self) -> str:
        """`<logical id>-<random>`: what CloudFormation calls state machines."""
        return f"{self.logical_id}-{self._suffix()}"

    @staticmethod
    def _suffix() -> str:
        return "".join(secrets.choice(SUFFIX) for _ in range(12))


@dataclass(frozen=True)
class Made:
    """A resource that exists: its physical id (what Ref gives) and its attributes (what GetAtt gives)."""

    physical_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ResourceType:
    """One CloudFormation type. `update` None, or a change in `replaces`, means replacement.

    updates: the properties that update can change, None for all; removes: those it can also take away, None for all.
    Any other change is refused by name: an update that looks done and is not would be a lie.
    """

    name: str
    properties: Tree
    create: Callable[[Context, Properties], Made]
    delete: Callable[[Context, str, Properties], None]
    update: Callable[[Context, Made, Properties, Properties], Made] | None = None
    replaces: frozenset[str] = frozenset()
    check: Callable[[Properties, str], Iterator[str]] | None = None
    updates: frozenset[str] | None = None
    removes: frozenset[str] | None = None

    def unknown_properties(self, properties: Properties) -> Iterator[str]:
        """Paths below Properties that this type does not know."""
        yield from unknown(self.properties, properties, "Properties")
        if self.check is not None:
            yield from self.check({name: value for name, value in properties.items() if name in self.properties}, "Properties")


def call(context: Context, service: str, operation: str, properties: Properties) -> Any:
    """One API call with properties coerced to its input shape."""
    return getattr(context.clients(service), xform_name(operation))(**coerce(input_shape(service, operation), properties))


def ignoring(codes: set[str], action: Callable[[], Any]) -> None:
    """Delete something; that it is gone already is fine."""
    try:
        action()
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise


def nothing(context: Context, physical_id: str, properties: Properties) -> None:  # a handler's signature
    """Deleting this type takes nothing."""


def api(
    name: str,
    service: str,
    create: str,
    *,
    made: Callable[[Properties, Any], Made],
    delete: Callable[[Context, str, Properties], None],
    update: str | None = None,
    named: str | None = None,
    limit: int = 64,
    rename: Mapping[str, str] | None = None,
    replaces: frozenset[str] = frozenset(),
    removes: frozenset[str] | None = frozenset(),
    known: Tree | None = None,
    identify: Callable[[Made], Properties] = lambda made: {},
) -> ResourceType:
    """A type that one call creates and one call updates.

    known: the properties that localcloud does something with, where the call takes more.
    removes: the properties an update may take away: all (None) when the call sets everything anew.
    named: the property that holds the physical name; rename: CloudFormation's property → the API's; identify: the
    arguments that tell an update which resource is meant.
    """
    names = rename or {}

    def arguments(properties: Properties) -> Properties:
        return {names.get(key, key): value for key, value in properties.items()}

    def do_create(context: Context, properties: Properties) -> Made:
        given = properties if named is None or named in properties else properties | {named: context.name(limit)}
        return made(given, call(context, service, create, arguments(given)))

    def do_update(context: Context, current: Made, _: Properties, properties: Properties) -> Made:
        call(context, service, str(update), arguments(properties) | identify(current))
        return current

    def check(properties: Properties, path: str) -> Iterator[str]:
        return unknown_to_shape(input_shape(service, create), arguments(properties), path)

    shape_names = {member for member, _ in members(input_shape(service, create)).values()}
    backwards = {value: key for key, value in names.items()}
    properties = {backwards.get(member, member[0].upper() + member[1:]) for member in shape_names}
    return ResourceType(
        name, tree(*properties) if known is None else known, do_create, delete, do_update if update else None, replaces, check, removes=removes
    )
