"""IAM policy documents as statements, and which action and resource a statement is about.

`parse` refuses by name what the evaluator does not know, because a Deny that is not understood would silently allow.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from localcloud.iam import conditions, patterns
from localcloud.iam.patterns import Context

_VARIABLES_SINCE = "2012-10-17"
_ELEMENTS = {"Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
_PRINCIPALS = {"AWS", "Service", "CanonicalUser"}


class PolicyError(Exception):
    """A policy has something the evaluator does not know; the message names policy, statement and element."""


@dataclass(frozen=True)
class Statement:
    """One statement. `principals` is None in an identity-based policy; of each element and its Not… one is empty.

    `fault`: what in its conditions cannot be evaluated. Only a request that the statement is about is refused for it: AWS's own
    managed policies use condition keys of services that are not here.
    """

    policy: str
    sid: str
    effect: Literal["Allow", "Deny"]
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    principals: Mapping[str, tuple[str, ...]] | None
    not_principals: Mapping[str, tuple[str, ...]] | None
    conditions: Mapping[str, Mapping[str, tuple[str, ...]]]
    fault: str = ""

    def covers(self, action: str, resource: str, context: Context) -> bool:
        """Whether it is about this action on this resource; `context` (normal) is for the resource's variables."""
        return self._has_action(action) and self._has_resource(resource, context)

    def _has_action(self, action: str) -> bool:
        """Actions are case-insensitive."""
        wanted = any(patterns.glob(text.lower()).fullmatch(action.lower()) for text in self.actions or self.not_actions)
        return wanted is not bool(self.not_actions)

    def _has_resource(self, resource: str, context: Context) -> bool:
        """Case-sensitive. A trust policy names no resource; a variable that cannot be resolved fails the whole statement."""
        if not (self.resources or self.not_resources):
            return True
        texts = [patterns.substitute(text, context) for text in self.resources or self.not_resources]
        if None in texts:
            return False
        wanted = any(patterns.resource(text).fullmatch(resource) for text in texts if text is not None)
        return wanted is not bool(self.not_resources)


def parse(document: Mapping[str, Any] | str, name: str) -> tuple[Statement, ...]:
    """The statements of a policy document; `name` is for messages. Raises PolicyError."""
    body = _loaded(document, name)
    _only(body, {"Version", "Id", "Statement"}, name)
    version = body.get("Version", "2008-10-17")
    if version not in ("2008-10-17", _VARIABLES_SINCE):
        raise PolicyError(f"{name}: unknown Version {version!r}")
    raw = body.get("Statement", [])
    statements = raw if isinstance(raw, list) else [raw]
    return tuple(_statement(each, name, index, version) for index, each in enumerate(statements))


def _loaded(document: Mapping[str, Any] | str, name: str) -> Mapping[str, Any]:
    try:
        body = json.loads(document) if isinstance(document, str) else document
    except ValueError as error:
        raise PolicyError(f"{name}: not JSON: {error}") from error
    return _mapping(body, name)


def _statement(raw: Any, name: str, index: int, version: str) -> Statement:
    sid = str(raw.get("Sid", "")) if isinstance(raw, Mapping) else ""
    where = f"{name}, statement {sid or index}"
    _check_elements(_mapping(raw, where), where)
    conditions, fault = _judged(raw, version, where)
    return Statement(
        policy=name,
        sid=sid,
        effect=raw["Effect"],
        actions=_actions(raw, "Action", where),
        not_actions=_actions(raw, "NotAction", where),
        resources=_resources(raw, "Resource", version, where),
        not_resources=_resources(raw, "NotResource", version, where),
        principals=_principals(raw, where),
        not_principals=None,
        conditions=conditions,
        fault=fault,
    )


def _judged(raw: Mapping[str, Any], version: str, where: str) -> tuple[Mapping[str, Mapping[str, tuple[str, ...]]], str]:
    """Conditions, and what is wrong with them."""
    try:
        return _conditions(_mapping(raw.get("Condition", {}), f"{where}, Condition"), version, where), ""
    except PolicyError as error:
        return {}, str(error)


def _check_elements(raw: Mapping[str, Any], where: str) -> None:
    """One of Action and NotAction, one of Resource and NotResource; only a resource-based policy may leave Resource out."""
    if "NotPrincipal" in raw:
        raise PolicyError(f"{where}: NotPrincipal is not supported; use Principal * with ArnNotEquals on aws:PrincipalArn")
    _only(raw, _ELEMENTS, where)
    if raw.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError(f"{where}: unknown Effect {raw.get('Effect')!r}")
    if ("Action" in raw) == ("NotAction" in raw):
        raise PolicyError(f"{where}: needs one of Action and NotAction")
    if ("Resource" in raw) == ("NotResource" in raw) and ("Resource" in raw or "Principal" not in raw):
        raise PolicyError(f"{where}: needs one of Resource and NotResource")


def _actions(raw: Mapping[str, Any], element: str, where: str) -> tuple[str, ...]:
    actions = _listed(raw, element, where)
    for action in actions:
        if action != "*" and ":" not in action:
            raise PolicyError(f"{where}: {element} {action!r} names no service")
    return actions


def _resources(raw: Mapping[str, Any], element: str, version: str, where: str) -> tuple[str, ...]:
    """Variables are for the resource part only, after the ARN's fifth colon."""
    resources = tuple(_literal(text, version) for text in _listed(raw, element, where))
    for text in resources:
        _checked(conditions.check_variables, text, where=f"{where}, {element}")
        if patterns.variables(text) and text[: text.index("${")].count(":") < 5:
            raise PolicyError(f"{where}: {element} {text!r} has a policy variable before the fifth colon")
    return resources


def _principals(raw: Mapping[str, Any], where: str) -> Mapping[str, tuple[str, ...]] | None:
    if "Principal" not in raw:
        return None
    given = {"AWS": "*"} if raw["Principal"] == "*" else _mapping(raw["Principal"], f"{where}, Principal")
    _only(given, _PRINCIPALS, f"{where}, Principal")
    if "CanonicalUser" in given and raw["Effect"] == "Deny":
        raise PolicyError(f"{where}, Principal: a Deny for a CanonicalUser is not supported, no request here comes from one")
    found = {kind: _listed(given, kind, f"{where}, Principal") for kind in given}
    for kind, names in found.items():
        for text in names:
            if ("*" in text or "?" in text) and (kind, text) != ("AWS", "*"):
                raise PolicyError(f"{where}, Principal: {kind} {text!r} has a wildcard in a name")
    return found


def _conditions(raw: Mapping[str, Any], version: str, where: str) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, keys in raw.items():
        for key, value in _mapping(keys, f"{where}, Condition {name}").items():
            at = f"{where}, Condition {name} {key}"
            values = _texts(value, at)
            _checked(conditions.check, name, key, values, where=at)
            found.setdefault(name, {})[key] = tuple(_literal(text, version) for text in values) if conditions.parsed(name).substitutes else values
    return found


def _literal(text: str, version: str) -> str:
    """Before 2012-10-17 the language had no variables: there `${` is text.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html
    """
    return text if version == _VARIABLES_SINCE else text.replace("$", "${$}")


def _checked(check: Any, *values: Any, where: str) -> None:
    try:
        check(*values)
    except ValueError as error:
        raise PolicyError(f"{where}: {error}") from error


def _only(raw: Mapping[str, Any], names: set[str], where: str) -> None:
    for name in raw:
        if name not in names:
            raise PolicyError(f"{where}: unknown or unsupported element {name!r}")


def _mapping(raw: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise PolicyError(f"{where}: not an object: {raw!r}")
    return raw


def _listed(raw: Mapping[str, Any], element: str, where: str) -> tuple[str, ...]:
    """The element's texts, () where it is absent. An empty list is refused: it would read as absent."""
    texts = _texts(raw[element], f"{where}, {element}") if element in raw else ()
    if element in raw and not texts:
        raise PolicyError(f"{where}: {element} is empty")
    return texts


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(text for each in value for text in _texts(each, where))
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, str | int | float):
        return (str(value),)
    raise PolicyError(f"{where}: neither text nor a list of texts: {value!r}")
