"""The decision: may this principal do this action on this resource, and if not, in AWS's words, why not.

Values in, values out; localcloud's front gathers the policies and the request's context.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from localcloud.iam.conditions import met
from localcloud.iam.patterns import Context, normal
from localcloud.iam.policy import PolicyError, Statement

_ROOT = re.compile(r"arn:aws[^:]*:iam::(\d{12}):root")


@dataclass(frozen=True)
class Principal:
    """Who asks: a role (in `session_arn`, where it was assumed), the account root, or, with `arn` empty, an AWS service."""

    arn: str
    account: str
    session_arn: str = ""
    service: str = ""


@dataclass(frozen=True)
class Request:
    """`resource` is "*" for an action that has none; `context` is what condition keys and policy variables read."""

    principal: Principal
    action: str
    resource: str
    context: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Decision:
    """`reason` continues AWS's "… is not authorized to perform: … "; `statement` is the one that decided, None where none did."""

    allowed: bool
    reason: str
    statement: Statement | None


class Reach(IntEnum):
    """How directly a resource-based policy names the caller."""

    NOBODY = 0
    ACCOUNT = 1
    ROLE = 2
    CALLER = 3


def decide(
    request: Request,
    identity: Sequence[Statement],
    resource: Sequence[Statement] = (),
    boundary: Sequence[Statement] | None = None,
    *,
    resource_required: bool = False,
) -> Decision:
    """AWS's evaluation within a single account, without organization and session policies.

    An explicit Deny anywhere wins. A resource-based policy that names the session, everyone ("*"), the calling service or, for
    the root, the account, allows by itself, whatever boundary there is; one that names the role does so within the boundary;
    one that names the account only delegates to identity policies. Else an identity policy must allow, and the boundary too.
    The root is allowed by default, a service never. `resource_required` is for KMS keys and role trust: without an Allow in the
    resource's own policy, direct or delegated, nobody is allowed, the root included (key-policies.html in the KMS guide).
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
    Raises PolicyError for a statement about this request whose conditions cannot be evaluated, for an identity statement that has
    a Principal and for a resource statement that has none.
    """
    context = normal(request.context)
    granting = _applying(identity, request, context, of_resource=False)
    limiting = None if boundary is None else _applying(boundary, request, context, of_resource=False)
    naming = [each for each in _applying(resource, request, context, of_resource=True) if _reach(each, request.principal)]
    return _denied(granting, naming, limiting or []) or _allowed(request, granting, naming, limiting, resource_required)


def _applying(statements: Sequence[Statement], request: Request, context: Context, *, of_resource: bool) -> list[Statement]:
    """Those whose action, resource and conditions are met."""
    for each in statements:
        if (each.principals is not None) is not of_resource:
            raise PolicyError(f"{each.policy}, statement {each.sid}: Principal belongs in a resource-based policy, and only there")
    covering = [each for each in statements if each.covers(request.action, request.resource, context)]
    for each in covering:
        if each.fault:
            raise PolicyError(each.fault)
    return [each for each in covering if met(each.conditions, context)]


def _denied(granting: Sequence[Statement], naming: Sequence[Statement], limiting: Sequence[Statement]) -> Decision | None:
    kinds = {"an identity-based policy": granting, "a resource-based policy": naming, "a permissions boundary": limiting}
    for kind, statements in kinds.items():
        for each in statements:
            if each.effect == "Deny":
                return Decision(False, f"with an explicit deny in {kind}", each)
    return None


def _allowed(
    request: Request, granting: Sequence[Statement], naming: Sequence[Statement], limiting: Sequence[Statement] | None, resource_required: bool
) -> Decision:
    """What is left when nothing denies: every statement here is an Allow."""
    principal = request.principal
    named = max(naming, key=lambda each: _reach(each, principal), default=None)
    reach = Reach.NOBODY if named is None else _reach(named, principal)
    if reach == Reach.CALLER:
        return Decision(True, "by a resource-based policy", named)
    if principal.service or (resource_required and reach == Reach.NOBODY):
        return _nothing("resource-based policy", request)
    if _is_root(principal):
        return Decision(True, "because the account root user is allowed what no policy denies", None)
    if reach < Reach.ROLE and not granting:
        return _nothing("identity-based policy", request)
    if limiting is not None and not limiting:
        return _nothing("permissions boundary", request)
    if reach == Reach.ROLE:
        return Decision(True, "by a resource-based policy", named)
    return Decision(True, "by an identity-based policy", granting[0])


def _nothing(kind: str, request: Request) -> Decision:
    return Decision(False, f"because no {kind} allows the {request.action} action", None)


def _is_root(principal: Principal) -> bool:
    return _ROOT.fullmatch(principal.arn) is not None


def _reach(statement: Statement, principal: Principal) -> Reach:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html"""
    principals = statement.principals or {}
    names = principals.get("AWS", ())
    if "*" in names or (principal.service and principal.service in principals.get("Service", ())):
        return Reach.CALLER
    if principal.service:
        return Reach.NOBODY
    return max((_reach_of(name, principal) for name in names), default=Reach.NOBODY)


def _reach_of(name: str, principal: Principal) -> Reach:
    root = _ROOT.fullmatch(name)
    if (root[1] if root else name) == principal.account:
        return Reach.CALLER if _is_root(principal) else Reach.ACCOUNT
    if principal.session_arn and name == principal.session_arn:
        return Reach.CALLER
    return Reach.ROLE if name == principal.arn else Reach.NOBODY
