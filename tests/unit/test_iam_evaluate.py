"""The policy evaluator against AWS's documentation; each group says which page its expectations come from.

Pages are those of https://docs.aws.amazon.com/IAM/latest/UserGuide/ unless another guide is named.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.iam.conditions import holds
from localcloud.iam.evaluate import Decision, Principal, Request, decide
from localcloud.iam.policy import PolicyError, Statement, parse

ACCOUNT = "111122223333"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app/examplerole"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/examplerole/examplerolesessionname"
CALLER = Principal(arn=ROLE, account=ACCOUNT, session_arn=SESSION)
OBJECT = "arn:aws:s3:::amzn-s3-demo-bucket/key"


def policy(*statements: dict[str, Any], version: str = "2012-10-17") -> tuple[Statement, ...]:
    return parse({"Version": version, "Statement": list(statements)}, "p")


def allow(action: Any = "*", resource: Any = "*", condition: Any = None, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition or {}, **more}


def deny(*values: Any, **more: Any) -> dict[str, Any]:
    return {**allow(*values, **more), "Effect": "Deny"}


def ask(
    identity: Any = (), action: str = "s3:GetObject", resource: str = OBJECT, principal: Principal = CALLER, context: Any = None, **more: Any
) -> Decision:
    return decide(Request(principal, action, resource, context or {}), identity, **more)


def condition(operator: str, key: str, *values: str) -> dict[str, dict[str, tuple[str, ...]]]:
    return {operator: {key: values}}


# reference_policies_elements_condition_operators.html: the tables of operators, and the "Important" note on absent keys.
@pytest.mark.parametrize(
    ("operator", "key", "wanted", "meets", "fails", "absent"),
    [
        ("StringEquals", "aws:PrincipalTag/job-category", "iamuser-admin", "iamuser-admin", "IAMuser-admin", False),
        ("StringNotEquals", "aws:username", "a", "A", "a", True),
        ("StringEqualsIgnoreCase", "aws:username", "a", "A", "b", False),
        ("StringNotEqualsIgnoreCase", "aws:username", "a", "b", "A", True),
        ("StringLike", "s3:prefix", "home/?*", "home/x", "home/", False),
        ("StringLike", "s3:prefix", "a[b]*", "a[b]c", "abc", False),
        ("StringNotLike", "s3:prefix", "home/*", "Home/x", "home/x", True),
        ("NumericEquals", "s3:max-keys", "10", "10.0", "11", False),
        ("NumericNotEquals", "s3:max-keys", "10", "11", "10", True),
        ("NumericLessThan", "s3:max-keys", "10", "9", "10", False),
        ("NumericLessThanEquals", "s3:max-keys", "10", "10", "11", False),
        ("NumericGreaterThan", "s3:max-keys", "10", "100", "10", False),
        ("NumericGreaterThanEquals", "s3:max-keys", "10", "10", "9", False),
        ("NumericLessThan", "s3:max-keys", "10", "9", "many", False),
        ("DateEquals", "aws:CurrentTime", "2020-01-01", "2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z", False),
        ("DateNotEquals", "aws:CurrentTime", "2020-01", "2020-02-01", "2020-01-01", True),
        ("DateLessThan", "aws:CurrentTime", "2020-01-01T00:00:01Z", "2020-01-01T00:00:00Z", "2020-01-01T00:00:01Z", False),
        ("DateLessThanEquals", "aws:EpochTime", "2020-01-01T00:00:00Z", "1577836800", "1577836801", False),
        ("DateGreaterThan", "aws:CurrentTime", "2020-01-01T00:00:01Z", "2020-01-01T00:00:02Z", "2020-01-01T00:00:01Z", False),
        ("DateGreaterThanEquals", "aws:CurrentTime", "2020-01-01T01:00:00+01:00", "2020-01-01T00:00:00Z", "2019-12-31T23:59:59Z", False),
        ("Bool", "aws:SecureTransport", "false", "false", "true", False),
        ("BinaryEquals", "aws:userid", "QmluYXJ5VmFsdWVJbkJhc2U2NA==", "BinaryValueInBase64", "QmluYXJ5VmFsdWVJbkJhc2U2NA==", False),
        ("IpAddress", "aws:SourceIp", "203.0.113.0/24", "203.0.113.255", "203.0.114.0", False),
        ("IpAddress", "aws:SourceIp", "203.0.113.7", "203.0.113.7", "203.0.113.8", False),
        ("IpAddress", "aws:SourceIp", "2001:DB8:1234:5678::/64", "2001:db8:1234:5678::1", "203.0.113.8", False),
        ("NotIpAddress", "aws:SourceIp", "203.0.113.0/24", "203.0.114.0", "203.0.113.1", True),
        ("ArnEquals", "aws:SourceArn", "arn:aws:sns:*:123456789012:t", "arn:aws:sns:us-east-1:123456789012:t", "arn:aws:sns::1:t", False),
        ("ArnNotLike", "aws:SourceArn", "arn:aws:sns:*:1:t", "arn:aws:sqs:r:1:t", "arn:aws:sns:r:1:t", True),
        ("ArnNotEquals", "aws:SourceArn", "arn:aws:sns:*:1:t*", "arn:aws:sqs:r:1:t", "arn:aws:sns:r:1:t:u", True),
    ],
)
def test_operator_meets_fails_and_takes_an_absent_key_as_documented(
    operator: str, key: str, wanted: str, meets: str, fails: str, absent: bool
) -> None:
    policy(allow(condition=condition(operator, key, wanted)))  # what the tables list, parse accepts
    assert holds(condition(operator, key, wanted), {key: (meets,)})
    assert not holds(condition(operator, key, wanted), {key: (fails,)})
    assert holds(condition(operator, key, wanted), {}) is absent
    # "...IfExists": "If the key is not present, evaluate the condition element as true." Present, it is as without.
    assert holds(condition(f"{operator}IfExists", key, wanted), {})
    assert holds(condition(f"{operator}IfExists", key, wanted), {key: (meets,)})
    assert not holds(condition(f"{operator}IfExists", key, wanted), {key: (fails,)})


# The same page, "ARN condition operators": its own example, which StringLike matches and ArnLike does not.
@pytest.mark.parametrize(("operator", "expected"), [("StringLike", True), ("ArnLike", False), ("ArnEquals", False)])
def test_arn_operators_compare_component_by_component(operator: str, expected: bool) -> None:
    value = "arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt"
    assert holds(condition(operator, "aws:SourceArn", "arn:aws:someservice:*:111122223333:finance/*"), {"aws:SourceArn": (value,)}) is expected


# The same page, "Condition operator to check existence": true, the key is absent; false, it exists and is not null.
@pytest.mark.parametrize(
    ("wanted", "given", "expected"),
    [("true", None, True), ("true", ("x",), False), ("false", None, False), ("false", ("x",), True), ("false", ("",), False), ("true", (), True)],
)
def test_null_checks_that_a_key_is_absent(wanted: str, given: tuple[str, ...] | None, expected: bool) -> None:
    assert holds(condition("Null", "aws:TagKeys", wanted), {} if given is None else {"aws:TagKeys": given}) is expected


# reference_policies_condition-logic-multiple-context-keys-or-values.html: operators AND, keys AND, values OR, negated values NOR.
def test_operators_and_keys_are_anded_values_ored_and_negated_values_nored() -> None:
    both = {"StringEquals": {"aws:PrincipalTag/department": ("finance", "hr"), "aws:PrincipalTag/role": ("audit",)}}
    assert holds(both, {"aws:PrincipalTag/department": ("hr",), "aws:PrincipalTag/role": ("audit",)})
    assert not holds(both, {"aws:PrincipalTag/department": ("hr",)})
    assert not holds(
        both | {"Bool": {"aws:SecureTransport": ("true",)}}, {"aws:PrincipalTag/department": ("hr",), "aws:PrincipalTag/role": ("audit",)}
    )
    assert not holds(condition("StringNotEquals", "aws:username", "a", "b"), {"aws:username": ("a",)})
    assert holds(condition("StringNotEquals", "aws:username", "a", "b"), {"aws:username": ("c",)})
    # Several values without a set operator are not documented: here one that is listed is enough to fail the negated operator.
    assert not holds(condition("StringNotEquals", "aws:TagKeys", "a"), {"aws:TagKeys": ("a", "b")})


# reference_policies_elements_condition.html: "Condition key names are not case-sensitive."
def test_condition_keys_are_case_insensitive() -> None:
    assert holds(condition("StringEquals", "AWS:UserName", "x"), {"aws:username": ("x",)})
    assert holds(condition("StringEquals", "aws:principaltag/TEAM", "x"), {"aws:PrincipalTag/Team": ("x",)})


# reference_policies_condition-single-vs-multi-valued-context-keys.html, and the PostDateTime/UserName tables that
# reference_policies_multi-value-conditions.html had: an empty set (or an empty string) is true for All, false for Any.
@pytest.mark.parametrize(
    ("given", "every", "some", "every_not", "some_not"),
    [
        (("PostDateTime", "Message"), True, True, False, False),
        (("PostDateTime", "UserName"), False, True, False, True),
        (("UserName",), False, False, True, True),
        ((), True, False, True, False),
        (("",), True, False, True, False),
    ],
)
def test_set_operators(given: tuple[str, ...], every: bool, some: bool, every_not: bool, some_not: bool) -> None:
    names = ("ForAllValues:StringLike", "ForAnyValue:StringLike", "ForAllValues:StringNotLike", "ForAnyValue:StringNotLike")
    for name, expected in zip(names, (every, some, every_not, some_not), strict=True):
        context = {"dynamodb:Attributes": given} if given else {}
        assert holds(condition(name, "dynamodb:Attributes", "PostDateTime", "Message", "Tags"), context) is expected, name


# reference_policies_condition_examples-multi-valued-context-keys.html: DenyRestrictedTags, Null beside ForAllValues.
@pytest.mark.parametrize(
    ("tags", "denied"), [(("key1a", "key2b"), True), (("key1a", "other"), False), ((), False)], ids=["all restricted", "one free", "no tags"]
)
def test_null_keeps_for_all_values_from_matching_an_untagged_request(tags: tuple[str, ...], denied: bool) -> None:
    both = {"Null": {"aws:TagKeys": "false"}, "ForAllValues:StringLike": {"aws:TagKeys": ["key1*", "key2*", "key3*"]}}
    statements = policy(allow(), deny(["iam:Tag*", "iam:UnTag*"], "*", both))
    assert ask(statements, "iam:TagRole", ROLE, context={"aws:TagKeys": tags}).allowed is not denied


# reference_policies_variables.html, "Introduction", "Specifying default values" (its bucket "company-wide" example) and "Special characters".
@pytest.mark.parametrize(
    ("text", "resource", "context", "allowed"),
    [
        ("arn:aws:s3:::mybucket/${aws:username}/*", "arn:aws:s3:::mybucket/David/x", {"aws:username": ("David",)}, True),
        ("arn:aws:s3:::mybucket/${aws:username}/*", "arn:aws:s3:::mybucket/Eve/x", {"aws:username": ("David",)}, False),
        ("arn:aws:s3:::mybucket/${aws:username}/*", "arn:aws:s3:::mybucket/Eve/x", {"aws:username": ("*",)}, False),
        ("arn:aws:s3:::b/${aws:PrincipalTag/team, 'company-wide'}/*", "arn:aws:s3:::b/company-wide/x", {}, True),
        ("arn:aws:s3:::b/${aws:PrincipalTag/team, 'company-wide'}/*", "arn:aws:s3:::b/company-wide/x", {"aws:PrincipalTag/team": ("yellow",)}, False),
        ("arn:aws:s3:::b/${aws:PrincipalTag/team, 'company-wide'}/*", "arn:aws:s3:::b/yellow/x", {"aws:PrincipalTag/team": ("yellow",)}, True),
        ("arn:aws:s3:::b/${*}${?}${$}", "arn:aws:s3:::b/*?$", {}, True),
        ("arn:aws:s3:::b/${*}${?}${$}", "arn:aws:s3:::b/xx$", {}, False),
        ("arn:aws:sqs:us-east-2:*:${aws:username}-queue", "arn:aws:sqs:us-east-2:1:Adele-queue", {"AWS:UserName": ("Adele",)}, True),
    ],
)
def test_policy_variables_in_resources(text: str, resource: str, context: Any, allowed: bool) -> None:
    assert ask(policy(allow(resource=text)), resource=resource, context=context).allowed is allowed


# The same page: a key that is "not present" makes the statement invalid, whatever else it lists; only single-valued keys are variables.
def test_unresolvable_variable_fails_the_whole_statement() -> None:
    home = ["arn:aws:s3:::amzn-s3-demo-bucket/*", "arn:aws:s3:::b/${aws:username}"]
    assert not ask(policy(allow(resource=home))).allowed
    assert ask(policy(allow(resource=home)), context={"aws:username": ("x",)}).allowed
    assert not ask(policy({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::b/${aws:username}"})).allowed
    assert not holds(condition("StringEquals", "s3:prefix", "", "${aws:username}"), {"s3:prefix": ("",)})
    assert not holds(condition("StringNotEquals", "s3:prefix", "${aws:username}"), {"s3:prefix": ("x",)})
    assert not holds(condition("StringEquals", "s3:prefix", "${aws:TagKeys}"), {"s3:prefix": ("x",), "aws:TagKeys": ("x", "y")})
    assert holds(condition("StringEqualsIfExists", "s3:prefix", "${aws:username}"), {})  # "use the ...IfExists condition operator"


# The same page, "Condition element": string and ARN operators take variables.
def test_policy_variables_in_conditions() -> None:
    assert holds(condition("StringLike", "s3:prefix", "", "home/", "home/${aws:username}/*"), {"s3:prefix": ("home/A/x",), "aws:username": ("A",)})
    tag = {"aws:ResourceTag/team": ("a*",), "aws:PrincipalTag/team": ("a*",)}
    assert holds(condition("StringEquals", "aws:ResourceTag/team", "${aws:PrincipalTag/team}"), tag)
    arn = condition("ArnLike", "aws:SourceArn", "arn:aws:sns:*:${aws:PrincipalAccount}:t")
    assert holds(arn, {"aws:SourceArn": ("arn:aws:sns:r:1:t",), "aws:PrincipalAccount": ("1",)})


# reference_policies_elements_version.html: before 2012-10-17 "variables such as ${aws:username} … are treated as literal strings".
def test_variables_are_text_in_the_old_language() -> None:
    old = policy(allow(resource="arn:aws:s3:::b/${aws:username}"), version="2008-10-17")
    assert not ask(old, resource="arn:aws:s3:::b/David", context={"aws:username": ("David",)}).allowed
    assert ask(old, resource="arn:aws:s3:::b/${aws:username}").allowed


# reference_policies_elements_action.html: "The prefix and the action name are case insensitive", wildcards * and ?.
@pytest.mark.parametrize(
    ("pattern", "action", "allowed"),
    [
        ("iam:ListAccessKeys", "IAM:listaccesskeys", True),
        ("iam:*AccessKey*", "iam:CreateAccessKey", True),
        ("s3:Get?bject", "s3:GetObject", True),
        ("s3:GetObject", "s3:GetObjectVersion", False),
        ("*", "sqs:SendMessage", True),
        (["s3:PutObject", "sqs:*"], "sqs:SendMessage", True),
    ],
)
def test_actions_match(pattern: Any, action: str, allowed: bool) -> None:
    assert ask(policy(allow(pattern)), action).allowed is allowed


# reference_policies_elements_resource.html: the list of objects that …/*/test/* matches and does not, case, and the colon rules.
@pytest.mark.parametrize(
    ("pattern", "resource", "allowed"),
    [
        *[
            ("arn:aws:s3:::amzn-s3-demo-bucket/*/test/*", f"arn:aws:s3:::amzn-s3-demo-bucket/{key}", True)
            for key in ("1/test/object.jpg", "1/2/test/3/object.jpg", "1///test///object.jpg", "/test/object.jpg", "1/test/")
        ],
        *[
            ("arn:aws:s3:::amzn-s3-demo-bucket/*/test/*", f"arn:aws:s3:::amzn-s3-demo-bucket/{key}", False)
            for key in ("1-test/object.jpg", "test/object.jpg", "1/2/test.jpg")
        ],
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/a:b/c", True),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b", False),
        ("arn:aws:iam::1:user/Bob", "arn:aws:iam::1:user/bob", False),
        ("arn:aws:lambda:*:1:function:f*", "arn:aws:lambda:us-east-1:1:function:f:7", True),
        ("arn:aws:lambda:us*1:1:function:f", "arn:aws:lambda:us-east-1:1:function:f", True),
        ("arn:aws:lambda:us*1:1:function:f", "arn:aws:lambda:us:x1:1:function:f", False),
        ("arn:aws:s3*", "arn:aws:s3:::b/key", True),
        ("arn:aws:sqs:*:queue", "arn:aws:sqs:us-east-1:1:queue", True),
        ("*", "*", True),
        ("arn:aws:s3:::b", "*", False),
    ],
)
def test_resources_match(pattern: str, resource: str, allowed: bool) -> None:
    assert ask(policy(allow(resource=pattern)), resource=resource).allowed is allowed


# reference_policies_elements_notaction.html and …_notresource.html: everything except what is listed.
def test_not_action_and_not_resource_cover_everything_else() -> None:
    outside = policy(allow(), {"Effect": "Deny", "NotAction": "iam:*", "Resource": "*"})
    assert ask(outside, "iam:GetRole", ROLE).allowed
    assert not ask(outside, "s3:GetObject").allowed
    hr = {"Effect": "Deny", "Action": "s3:*", "NotResource": ["arn:aws:s3:::HRBucket/Payroll", "arn:aws:s3:::HRBucket/Payroll/*"]}
    assert ask(policy(allow(), hr), resource="arn:aws:s3:::HRBucket/Payroll/x").allowed
    assert not ask(policy(allow(), hr)).allowed


# reference_policies_evaluation-logic.html, "Example identity-based and resource-based policy evaluation": Carlos and his logs.
def test_explicit_deny_wins() -> None:
    own = ["arn:aws:s3:::carlossalazar/*", "arn:aws:s3:::carlossalazar"]
    carlos = policy(allow("s3:*", own, Sid="AllowS3Self"), deny("s3:*", "arn:aws:s3:::*log*", Sid="DenyS3Logs"))
    bucket = policy(allow("s3:*", own, Principal={"AWS": ROLE}))
    refused = decide(Request(CALLER, "s3:PutObject", "arn:aws:s3:::carlossalazar-logs/x", {}), carlos)
    assert (refused.allowed, refused.reason) == (False, "with an explicit deny in an identity-based policy")
    assert refused.statement is not None
    assert refused.statement.sid == "DenyS3Logs"
    assert decide(Request(CALLER, "s3:PutObject", "arn:aws:s3:::carlossalazar/x", {}), carlos, bucket).allowed


def grants(principal: Any, **more: Any) -> tuple[Statement, ...]:
    return policy(allow("s3:*", Principal=principal, **more))


def by_bucket(resource: Any, identity: Any = (), boundary: Any = None, principal: Principal = CALLER, context: Any = None, **more: Any) -> Decision:
    return decide(Request(principal, "s3:GetObject", OBJECT, context or {}), identity, resource, boundary, **more)


# The same page, "Determining whether a request is allowed or denied within an account", and reference_policies_elements_principal.html:
# role ARN, session ARN and * grant directly, the account only delegates; a boundary limits the role ARN but not the session ARN or *.
@pytest.mark.parametrize(
    ("principal", "alone", "with_identity", "outside_boundary"),
    [
        ({"AWS": ROLE}, True, True, False),
        ({"AWS": SESSION}, True, True, True),
        ("*", True, True, True),
        ({"AWS": "*"}, True, True, True),
        ({"AWS": ACCOUNT}, False, True, False),
        ({"AWS": ROOT}, False, True, False),
        ({"AWS": ["999999999999", ROLE]}, True, True, False),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/other"}, False, True, False),
        ({"Service": "events.amazonaws.com"}, False, True, False),
        ({"CanonicalUser": "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"}, False, True, False),
    ],
)
def test_what_a_resource_policy_grants_depends_on_whom_it_names(principal: Any, alone: bool, with_identity: bool, outside_boundary: bool) -> None:
    assert by_bucket(grants(principal)).allowed is alone
    assert by_bucket(grants(principal), policy(allow())).allowed is with_identity
    assert by_bucket(grants(principal), policy(allow()), policy(allow("sqs:*"))).allowed is outside_boundary


# access_policies_boundaries.html: identity and boundary must both allow; an empty boundary allows nothing.
def test_boundary_limits_identity() -> None:
    assert by_bucket((), policy(allow()), policy(allow("s3:*"))).allowed
    assert by_bucket((), policy(allow()), ()).reason == "because no permissions boundary allows the s3:GetObject action"
    assert not by_bucket((), (), policy(allow("s3:*"))).allowed
    assert by_bucket((), policy(allow()), policy(allow(), deny("s3:*"))).reason == "with an explicit deny in a permissions boundary"


# troubleshoot_access-denied.html: the words of an implicit and of an explicit denial.
def test_reasons_are_in_awss_words() -> None:
    assert by_bucket(()).reason == "because no identity-based policy allows the s3:GetObject action"
    assert by_bucket((), resource_required=True).reason == "because no resource-based policy allows the s3:GetObject action"
    assert by_bucket(policy(deny(Principal="*")), policy(allow())).reason == "with an explicit deny in a resource-based policy"
    assert by_bucket((), policy(allow(), deny())).reason == "with an explicit deny in an identity-based policy"


# reference_policies_evaluation-logic.html: "implicitly denied with the exception of the AWS account root user".
def test_account_root_is_allowed_unless_a_resource_policy_denies_it() -> None:
    root = Principal(arn=ROOT, account=ACCOUNT)
    assert by_bucket((), principal=root).allowed
    assert not by_bucket(policy(deny(Principal={"AWS": ACCOUNT})), principal=root).allowed
    assert by_bucket(policy(deny(Principal={"AWS": ROLE})), principal=root).allowed


# Bucket policy "BooleanExample" of the operators' page: not over TLS, then denied, and nothing is allowed by it.
@pytest.mark.parametrize("principal", [CALLER, Principal(arn=ROOT, account=ACCOUNT)])
def test_tls_only_bucket_denies_plain_http(principal: Principal) -> None:
    bucket = policy(deny("s3:*", "*", {"Bool": {"aws:SecureTransport": False}}, Principal="*"))
    assert by_bucket(bucket, policy(allow()), principal=principal, context={"aws:SecureTransport": ("true",)}).allowed
    assert not by_bucket(bucket, policy(allow()), principal=principal, context={"aws:SecureTransport": ("false",)}).allowed
    assert not by_bucket(bucket, context={"aws:SecureTransport": ("true",)}).allowed


# confused-deputy.html: a service principal is limited by aws:SourceArn and aws:SourceAccount.
@pytest.mark.parametrize(
    ("service", "source", "account", "allowed"),
    [
        ("events.amazonaws.com", "arn:aws:events:us-east-1:111122223333:rule/nightly", ACCOUNT, True),
        ("events.amazonaws.com", "arn:aws:events:us-east-1:111122223333:rule/other", ACCOUNT, False),
        ("events.amazonaws.com", "arn:aws:events:us-east-1:111122223333:rule/nightly", "999999999999", False),
        ("s3.amazonaws.com", "arn:aws:events:us-east-1:111122223333:rule/nightly", ACCOUNT, False),
    ],
)
def test_service_is_allowed_by_a_resource_policy_that_names_it(service: str, source: str, account: str, allowed: bool) -> None:
    caller = Principal(arn="", account=ACCOUNT, service=service)
    only = {"ArnLike": {"aws:SourceArn": "arn:aws:events:*:111122223333:rule/night*"}, "StringEquals": {"aws:SourceAccount": ACCOUNT}}
    queue = policy(allow("sqs:SendMessage", condition=only, Principal={"Service": "events.amazonaws.com"}))
    context = {"aws:SourceArn": (source,), "aws:SourceAccount": (account,)}
    assert decide(Request(caller, "sqs:SendMessage", "arn:aws:sqs:r:1:q", context), policy(allow()), queue).allowed is allowed


def test_service_is_not_covered_by_an_account_or_by_identity_policies() -> None:
    caller = Principal(arn="", account=ACCOUNT, service="events.amazonaws.com")
    both = policy(allow(Principal={"Service": "events.amazonaws.com"}), deny(Principal={"AWS": ROOT}))
    assert by_bucket(both, principal=caller).allowed
    assert (
        by_bucket(grants({"AWS": ROOT}), policy(allow()), principal=caller).reason
        == "because no resource-based policy allows the s3:GetObject action"
    )


# KMS developer guide, key-policies.html: "Unless the key policy explicitly allows it, you cannot use IAM policies to allow access";
# no principal, "including the account root user", has any permission otherwise. key-policy-default.html: the root statement delegates.
@pytest.mark.parametrize(
    ("key", "identity", "principal", "allowed"),
    [
        ((), policy(allow()), CALLER, False),
        (grants({"AWS": ROOT}), policy(allow()), CALLER, True),
        (grants({"AWS": ROOT}), (), CALLER, False),
        (grants({"AWS": ROLE}), (), CALLER, True),
        (grants({"AWS": f"arn:aws:iam::{ACCOUNT}:role/other"}), policy(allow()), CALLER, False),
        ((), (), Principal(arn=ROOT, account=ACCOUNT), False),
        (grants({"AWS": ROOT}), (), Principal(arn=ROOT, account=ACCOUNT), True),
    ],
)
def test_required_resource_policy_must_allow_or_delegate(key: Any, identity: Any, principal: Principal, allowed: bool) -> None:
    assert by_bucket(key, identity, principal=principal, resource_required=True).allowed is allowed


# id_roles_compare-resource-policies.html: a trust policy has no Resource.
def test_trust_policy_lets_a_service_assume_a_role() -> None:
    trust = policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": ["lambda.amazonaws.com", "ecs.amazonaws.com"]}})
    for service, allowed in (("lambda.amazonaws.com", True), ("states.amazonaws.com", False)):
        caller = Principal(arn="", account=ACCOUNT, service=service)
        assert decide(Request(caller, "sts:AssumeRole", ROLE, {}), (), trust, resource_required=True).allowed is allowed


# id_roles_use_passrole.html and reference_policies_iam-condition-keys.html: iam:PassedToService.
@pytest.mark.parametrize(("service", "allowed"), [("sagemaker.amazonaws.com", True), ("lambda.amazonaws.com", False), (None, False)])
def test_pass_role_is_limited_to_a_service(service: str | None, allowed: bool) -> None:
    statements = policy(allow("iam:PassRole", ROLE, {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}))
    assert ask(statements, "iam:PassRole", ROLE, context={"iam:PassedToService": (service,)} if service else {}).allowed is allowed


# What the evaluator does not know it refuses by name: reference_policies_grammar.html has no such element, operator or value.
@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (allow(condition={"StringMatches": {"aws:username": "x"}}), "StringMatches"),
        (allow(condition={"NullIfExists": {"aws:username": "true"}}), "NullIfExists"),
        (allow(condition={"ForSome:StringEquals": {"aws:TagKeys": "x"}}), "ForSome:StringEquals"),
        (deny(condition={"StringEquals": {"ec2:InstanceType": "t2.micro"}}), "ec2:InstanceType"),
        (allow(condition={"Bool": {"aws:SecureTransport": "no"}}), "Bool aws:SecureTransport"),
        (allow(condition={"NumericEquals": {"s3:max-keys": "ten"}}), "NumericEquals"),
        (allow(condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/99"}}), "IpAddress"),
        (allow(condition={"DateLessThan": {"aws:CurrentTime": "soon"}}), "DateLessThan"),
        (allow(condition={"ArnLike": {"aws:SourceArn": "topic"}}), "ArnLike"),
        (allow(condition={"StringEquals": {"s3:prefix": "${aws:Nonsense}"}}), "aws:nonsense"),
        (allow(resource="arn:aws:s3:::b/${aws:Nonsense}"), "aws:nonsense"),
        (allow(resource="arn:aws:sqs:${aws:RequestedRegion}:1:q"), "before the fifth colon"),
        (allow(Effekt="Allow"), "Effekt"),
        ({**allow(), "Effect": "allow"}, "Effect"),
        (deny(NotPrincipal={"AWS": ROLE}), "NotPrincipal is not supported"),
        (allow(Principal={"Federated": "cognito-identity.amazonaws.com"}), "Federated"),
        (allow(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:role/*"}), "wildcard"),
        (deny(Principal={"CanonicalUser": "79a5"}), "CanonicalUser"),
        (allow("GetObject"), "GetObject"),
        (allow(NotAction="s3:*"), "NotAction"),
        (allow(action=[]), "Action is empty"),
        ({"Effect": "Allow", "Action": "*"}, "Resource"),
    ],
)
def test_refuses_by_name_what_it_does_not_know(statement: dict[str, Any], named: str) -> None:
    with pytest.raises(PolicyError, match="OnlyThis") as refused:
        ask(parse({"Version": "2012-10-17", "Statement": [{**statement, "Sid": "OnlyThis"}]}, "bucket policy"))
    assert named in str(refused.value)
    assert "bucket policy" in str(refused.value)


# AWS's own ReadOnlyAccess has conditions on keys of services that are not here.
def test_what_it_does_not_know_refuses_only_requests_that_the_statement_is_about() -> None:
    strange = {"StringEquals": {"s3express:SessionMode": "ReadOnly"}}
    statements = policy(allow("s3express:CreateSession", condition=strange), deny("s3:PutObject", condition=strange), allow("s3:*"))
    assert ask(statements, "s3:GetObject").allowed
    for action in ("s3express:CreateSession", "s3:PutObject"):
        with pytest.raises(PolicyError, match="s3express:SessionMode"):
            ask(statements, action)


def test_names_the_index_of_a_statement_without_sid() -> None:
    with pytest.raises(PolicyError, match=r"p, statement 1: .*Effect"):
        policy(allow(), {**allow(), "Effect": "Perhaps"})


@pytest.mark.parametrize("document", ["{", "[]", {"Version": "2025-01-01"}, {"Statements": []}, {"Statement": ["x"]}])
def test_refuses_what_is_no_policy(document: Any) -> None:
    with pytest.raises(PolicyError):
        parse(document, "p")


def test_reads_json_text_one_statement_and_single_values() -> None:
    (only,) = parse('{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}', "p")
    assert (only.actions, only.resources, only.principals, only.sid) == (("s3:*",), ("*",), None, "")


# reference_policies_elements_principal.html: Principal is for resource-based policies, and they must have one.
def test_refuses_a_principal_in_the_wrong_place() -> None:
    with pytest.raises(PolicyError, match="Principal"):
        ask(policy(allow(Principal="*")))
    with pytest.raises(PolicyError, match="Principal"):
        by_bucket(policy(allow()))


ACTIONS = st.sampled_from(["s3:GetObject", "s3:*", "sqs:*", "*"])
RESOURCES = st.sampled_from([OBJECT, "*", "arn:aws:s3:::*", "arn:aws:s3:::b/${aws:username}"])
CONDITIONS = st.sampled_from([{}, {"Bool": {"aws:SecureTransport": "false"}}, {"StringNotEqualsIfExists": {"aws:username": "x"}}])
PRINCIPALS = st.sampled_from(["*", {"AWS": ROLE}, {"AWS": SESSION}, {"AWS": ROOT}, {"Service": "events.amazonaws.com"}])
CALLERS = st.sampled_from([CALLER, Principal(arn=ROOT, account=ACCOUNT), Principal(arn="", account=ACCOUNT, service="events.amazonaws.com")])
IDENTITY = st.builds(lambda effect, *rest: {**allow(*rest), "Effect": effect}, st.sampled_from(["Allow", "Deny"]), ACTIONS, RESOURCES, CONDITIONS)
OF_RESOURCE = st.builds(lambda statement, principal: {**statement, "Principal": principal}, IDENTITY, PRINCIPALS)
CONTEXTS = st.fixed_dictionaries({}, optional={"aws:SecureTransport": st.sampled_from([("true",), ("false",)]), "aws:username": st.just(("x",))})
CASES = st.tuples(
    CALLERS, CONTEXTS, st.lists(IDENTITY, max_size=3), st.lists(OF_RESOURCE, max_size=3), st.none() | st.lists(IDENTITY, max_size=2), st.booleans()
)


def decided(case: Any, identity: Any = (), resource: Any = (), boundary: Any = ()) -> bool:
    principal, context, own, attached, limit, required = case
    limits = None if limit is None else policy(*limit, *boundary)
    request = Request(principal, "s3:GetObject", OBJECT, context)
    return decide(request, policy(*own, *identity), policy(*attached, *resource), limits, resource_required=required).allowed


# reference_policies_evaluation-logic_AccessPolicyLanguage_Interplay.html: a Deny trumps any Allow, and no Deny allows.
@given(CASES, IDENTITY, PRINCIPALS)
def test_adding_a_deny_never_allows(case: Any, added: dict[str, Any], principal: Any) -> None:
    denying = {**added, "Effect": "Deny"}
    if not decided(case):
        assert not decided(case, identity=[denying])
        assert not decided(case, boundary=[denying])
        assert not decided(case, resource=[{**denying, "Principal": principal}])


@given(CASES, IDENTITY)
def test_adding_an_identity_allow_never_denies(case: Any, added: dict[str, Any]) -> None:
    if decided(case):
        assert decided(case, identity=[{**added, "Effect": "Allow"}])
