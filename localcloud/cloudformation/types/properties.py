"""Which properties a type knows, nested ones too, as a tree that templates are checked against before anything is touched."""

from collections.abc import Iterator
from typing import Any

Tree = dict[str, "Tree"]

TAGS = ("Tags.Key", "Tags.Value")


def tree(*paths: str) -> Tree:
    """`"A.B"` and `"A.C"` make {A: {B, C}}; lists are looked through, and below a leaf anything goes."""
    root: Tree = {}
    for path in paths:
        node = root
        for name in path.split("."):
            node = node.setdefault(name, {})
    return root


def unknown(known: Tree, value: Any, path: str) -> Iterator[str]:
    """Paths in an unresolved value that the tree does not have. Both branches of Fn::If are looked into."""
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from unknown(known, item, f"{path}[{i}]")
    elif isinstance(value, dict) and is_intrinsic(value):
        for branch in branches(value):
            yield from unknown(known, branch, path)
    elif isinstance(value, dict) and known:
        for name, item in value.items():
            if name not in known:
                yield f"{path}.{name}"
            else:
                yield from unknown(known[name], item, f"{path}.{name}")


def is_intrinsic(value: dict[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith(("Fn::", "Ref"))


def branches(value: dict[str, Any]) -> list[Any]:
    """What an Fn::If may give; other functions are not looked into."""
    return list(value["Fn::If"][1:]) if "Fn::If" in value else []


def leaves(known: Tree, path: str = "") -> Iterator[str]:
    """The paths of a tree again, for people."""
    for name, below in sorted(known.items()):
        full = f"{path}.{name}" if path else name
        if below:
            yield from leaves(below, full)
        else:
            yield full
