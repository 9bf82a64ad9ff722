"""EventBridge event patterns: a pattern's JSON text becomes a function that says whether an event matches.

Follows aws/event-ruler, the engine AWS published: an event is flattened to leaves, and all of a pattern's fields must
match leaves that do not lie in different elements of one array.
Arrays: https://github.com/aws/event-ruler#json-array-matching
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from localcloud.events.operators import RESERVED, PatternError, Test, absent, refuse, tests_of

Branch = dict[str, list[Test]]
Membership = frozenset[tuple[int, int]]


class Leaf(NamedTuple):
    """A scalar of an event, and the (array, element) pairs it lies in."""

    value: object
    membership: Membership


def compile_pattern(text: str) -> Callable[[Mapping[str, Any]], bool]:
    """What decides whether an event matches this pattern. PatternError if the pattern is not valid."""
    branches = _branches(_parsed(text), "", [{}])

    def matches(event: Mapping[str, Any]) -> bool:
        leaves: dict[str, list[Leaf]] = defaultdict(list)
        for path, leaf in _flatten(event, "", frozenset(), itertools.count()):
            leaves[path].append(leaf)
        return any(_branch_matches(branch, leaves) for branch in branches)

    return matches


def _parsed(text: str) -> object:
    try:
        return json.loads(text, parse_constant=lambda name: refuse("", f"{name} is not JSON"))
    except json.JSONDecodeError as error:
        raise PatternError(f"Event pattern is not valid. Reason: not JSON: {error}") from error


def _flatten(value: object, path: str, membership: Membership, arrays: Iterator[int]) -> Iterator[tuple[str, Leaf]]:
    """An event's leaves by dotted path. Arrays leave no step in the path; only objects and arrays inside an array belong to it."""
    if isinstance(value, Mapping):
        for name, child in value.items():
            yield from _flatten(child, _join(path, name), membership, arrays)
    elif isinstance(value, list):
        array = next(arrays)
        for index, child in enumerate(value):
            inside = membership | {(array, index)} if isinstance(child, Mapping | list) else membership
            yield from _flatten(child, path, inside, arrays)
    else:
        yield path, Leaf(value, membership)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _branch_matches(branch: Branch, leaves: Mapping[str, list[Leaf]]) -> bool:
    """All fields match, in consistent array elements. Fields go in order of their paths, as in event-ruler: `exists: false` sees
    only the elements that fields sorted before it have settled on."""
    memberships: set[Membership] = {frozenset()}
    for path in sorted(branch):
        memberships = {after for before in memberships for after in _settle(before, branch[path], leaves.get(path, []))}
    return bool(memberships)


def _settle(membership: Membership, tests: list[Test], leaves: list[Leaf]) -> Iterator[Membership]:
    """The array elements a match can lie in once this field has matched too."""
    elements = dict(membership)
    consistent = [leaf for leaf in leaves if all(elements.get(array, index) == index for array, index in leaf.membership)]
    if not consistent and absent in tests:
        yield membership
    for leaf in consistent:
        if any(test(leaf.value) for test in tests):
            yield membership | leaf.membership


def _branches(node: object, path: str, branches: list[Branch], in_or: bool = False) -> list[Branch]:
    """The alternatives `$or` makes of a pattern. A field named again replaces the earlier one, as event-ruler and AWS do."""
    if not isinstance(node, dict):
        refuse(path, "must be an object")
    if not node:
        refuse(path, "empty objects are not allowed")
    for name, child in node.items():
        where = _join(path, name)
        if name == "$or":
            branches = _alternatives(child, path, branches)
        elif in_or and name in RESERVED:
            refuse(where, f"{name!r} is an operator, not a field: it cannot stand inside $or")
        elif isinstance(child, dict):
            branches = _branches(child, where, branches, in_or)
        elif isinstance(child, list):
            tests = tests_of(child, where)
            branches = [{**branch, where: tests} for branch in branches]
        else:
            refuse(where, "must be an object or an array")
    return branches


def _alternatives(node: object, path: str, branches: list[Branch]) -> list[Branch]:
    where = _join(path, "$or")
    if not isinstance(node, list) or len(node) < 2 or not all(isinstance(child, dict) for child in node):
        refuse(where, "needs an array of at least two objects")
    return [branch for child in node for branch in _branches(child, path, branches, in_or=True)]
