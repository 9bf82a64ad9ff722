"""Condition operators: does a statement's Condition hold for what is known of a request?

`policy` checks a document against it, `evaluate` asks it. Rules and names are those of
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

import base64
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from localcloud.iam import patterns
from localcloud.iam.patterns import Context, normal

Conditions = Mapping[str, Mapping[str, tuple[str, ...]]]

# What a request supplies, or leaves absent as AWS would; a name that ends in * is a prefix. Any other key is refused at parse,
# because a Deny on a key that nobody ever supplies would silently allow; tests/unit/test_iam_needs.py says who supplies which.
_KEYS = """
    aws:securetransport aws:sourcearn aws:sourceaccount aws:sourceowner aws:sourceorgid aws:principalarn aws:principalaccount aws:principalorgid
    aws:principaltype aws:principalisawsservice aws:principalservicename aws:resourceaccount aws:requestedregion aws:currenttime
    aws:epochtime aws:username aws:userid aws:viaawsservice aws:calledvia aws:sourceip aws:sourcevpce aws:sourcevpc aws:tagkeys
    aws:multifactorauthpresent aws:principaltag/* aws:requesttag/* iam:passedtoservice iam:permissionsboundary iam:policyarn
    cloudwatch:namespace kms:viaservice kms:grantisforawsresource kms:calleraccount kms:encryptioncontext:* s3:prefix s3:delimiter
    s3:max-keys s3:versionid s3:resourceaccount s3:x-amz-server-side-encryption s3:x-amz-server-side-encryption-aws-kms-key-id
    s3:x-amz-acl s3:x-amz-copy-source s3:x-amz-metadata-directive s3:x-amz-storage-class s3:tlsversion sts:externalid
    sts:rolesessionname sns:protocol sns:endpoint
    """
KNOWN_KEYS = frozenset(_KEYS.split())
_PREFIXES = tuple(key[:-1] for key in KNOWN_KEYS if key.endswith("*"))


def known(key: str) -> bool:
    """Whether a request's context may hold `key`; keys are case-insensitive."""
    return key.lower() in KNOWN_KEYS or key.lower().startswith(_PREFIXES)


@lru_cache(maxsize=1024)
def _moment(text: str) -> float:
    """Seconds since the epoch, from such a number or from a W3C date. Bounded: every request brings its own time."""
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text + "-01" if re.fullmatch(r"\d{4}-\d\d", text) else text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@cache
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text, strict=False)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _six(text: str) -> str:
    if "${" not in text and text.count(":") < 5:
        raise ValueError(f"{text!r} is not an ARN of six components")
    return text


def _compare(read: Callable[[str], float], how: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    return lambda wanted, given: how(read(given), read(wanted))


_ORDER: dict[str, Callable[[float, float], bool]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "LessThanEquals": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanEquals": operator.ge,
}
_TESTS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda wanted, given: patterns.plain(wanted) == given,
    "StringEqualsIgnoreCase": lambda wanted, given: patterns.plain(wanted).lower() == given.lower(),
    "StringLike": lambda wanted, given: patterns.glob(wanted).fullmatch(given) is not None,
    "ArnEquals": lambda wanted, given: patterns.arn(wanted).fullmatch(given) is not None,
    "ArnLike": lambda wanted, given: patterns.arn(wanted).fullmatch(given) is not None,
    "Bool": lambda wanted, given: wanted.lower() == given.lower(),
    "BinaryEquals": lambda wanted, given: base64.b64decode(wanted) == given.encode(),
    "IpAddress": lambda wanted, given: ip_address(given) in _network(wanted),
    **{f"Numeric{name}": _compare(float, how) for name, how in _ORDER.items()},
    **{f"Date{name}": _compare(_moment, how) for name, how in _ORDER.items()},
}
_NEGATED = {
    **{name.replace("Equals", "NotEquals"): name for name in ("StringEquals", "StringEqualsIgnoreCase", "NumericEquals", "DateEquals", "ArnEquals")},
    "StringNotLike": "StringLike",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
}
_READERS: dict[str, Callable[[str], object]] = {
    "Numeric": float,
    "Date": _moment,
    "Bool": _truth,
    "Null": _truth,
    "Binary": lambda text: base64.b64decode(text, validate=True),
    "IpAddress": _network,
    "Arn": _six,
}


@dataclass(frozen=True)
class Operator:
    """One operator's name, taken apart: `base` is the positive test behind a negated name."""

    base: str
    negated: bool
    if_exists: bool
    quantifier: str

    @property
    def substitutes(self) -> bool:
        """Policy variables are for string and ARN operators; elsewhere they would be text."""
        return self.base.startswith(("String", "Arn"))


@cache
def parsed(name: str) -> Operator:
    """ValueError for a name AWS does not document; Null takes neither IfExists nor a quantifier."""
    quantifier, colon, rest = name.rpartition(":")
    base = rest.removesuffix("IfExists")
    plain = _NEGATED.get(base, base)
    if (plain not in _TESTS and name != "Null") or (colon and quantifier not in ("ForAllValues", "ForAnyValue")):
        raise ValueError(f"unknown condition operator {name}")
    return Operator(plain, base in _NEGATED, base != rest, quantifier)


def check(name: str, key: str, values: Sequence[str]) -> None:
    """ValueError for an operator, key, variable or value that could not be evaluated."""
    op = parsed(name)
    if not known(key):
        raise ValueError(f"unknown condition key {key}")
    for read in [reader for kind, reader in _READERS.items() if op.base.startswith(kind)]:
        for value in values:
            read(value)
    for value in values if op.substitutes else ():
        check_variables(value)


def check_variables(text: str) -> None:
    """ValueError for a variable that is malformed or that no request ever supplies."""
    for key, _ in patterns.variables(text):
        if not known(key):
            raise ValueError(f"unknown policy variable ${{{key}}}")


def holds(conditions: Conditions, context: Context) -> bool:
    """Every operator and every key must be met; an absent key meets negated operators only, save IfExists, Null and ForAllValues."""
    return not conditions or met(conditions, normal(context))


def met(conditions: Conditions, context: Context) -> bool:
    """`holds` for a context that is already normal."""
    return all(_met(parsed(name), wanted, context.get(key.lower(), ()), context) for name, keys in conditions.items() for key, wanted in keys.items())


def _met(op: Operator, wanted: Sequence[str], given: tuple[str, ...], context: Context) -> bool:
    """An unresolvable variable fails the statement, negated or not, unless the operator says IfExists."""
    if op.base == "Null":
        return any(_truth(text) is not any(given) for text in wanted)
    texts = [patterns.substitute(text, context) for text in wanted] if op.substitutes else wanted
    if None in texts and not op.if_exists:
        return False
    if not given or (op.quantifier and not any(given)):
        return _met_by_nothing(op)
    matches = (_matches(op.base, [text for text in texts if text is not None], value) is not op.negated for value in given)
    return all(matches) if op.quantifier == "ForAllValues" or (op.negated and not op.quantifier) else any(matches)


def _met_by_nothing(op: Operator) -> bool:
    """For an absent key. ForAllValues is true and ForAnyValue false of an empty set, which a set of empty strings is too.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
    """
    return op.if_exists or (op.quantifier == "ForAllValues" if op.quantifier else op.negated)


def _matches(base: str, wanted: Sequence[str], given: str) -> bool:
    """Whether one value of the request meets any of the policy's; one that cannot be read as its type meets none."""
    try:
        return any(_TESTS[base](text, given) for text in wanted)
    except ValueError:
        return False
