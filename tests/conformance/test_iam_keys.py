"""Who somebody is: trust, sessions, keys, requests without any, and presigned URLs.

"IAM:" names a page under docs.aws.amazon.com/IAM/latest/UserGuide/, "S3:" one under docs.aws.amazon.com/AmazonS3/latest/.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from localcloud import ACCOUNT, KEY, REGION
from tests.conformance.acting import LAMBDA, Acting, ask, client, is_denied, made_bucket, objects, refusal, session_of, trust, trusted
from tests.conformance.conftest import Account, allow, deny


@pytest.fixture
def bucket(account: Account) -> str:
    return made_bucket(account)


# trust and sessions


def test_a_role_that_trusts_the_account_is_open_to_whom_iam_allows_it(account):
    """IAM: id_roles_create_for-user.html: trust in the account leaves it to identity policies; trust in a role needs none."""
    target = trusted(account, trust({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))
    granted, nobody = Acting(account, allow("sts:AssumeRole", target)), Acting(account)
    assumed = granted("sts").assume_role(RoleArn=target, RoleSessionName="session")
    assert assumed["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{target.rpartition('/')[2]}/session"
    code, status, message = refusal(nobody("sts").assume_role, RoleArn=target, RoleSessionName="session")
    assert (code, status) == ("AccessDenied", 403)
    assert message.startswith(f"User: {session_of(nobody.role)} is not authorized to perform: sts:AssumeRole on resource: {target}")
    by_name = trusted(account, trust({"AWS": nobody.role}))
    nobody("sts").assume_role(RoleArn=by_name, RoleSessionName="session")
    assert is_denied(granted("sts").assume_role, RoleArn=by_name, RoleSessionName="session")
    assert is_denied(account.client("sts").assume_role, RoleArn=f"arn:aws:iam::{ACCOUNT}:role/nowhere", RoleSessionName="session")


def test_an_external_id_must_be_the_one_agreed(account):
    """IAM: id_roles_common-scenarios_third-party.html."""
    role = trusted(account, trust({"AWS": ACCOUNT}, StringEquals={"sts:ExternalId": "12345"}))
    sts = account.client("sts")
    sts.assume_role(RoleArn=role, RoleSessionName="session", ExternalId="12345")
    assert is_denied(sts.assume_role, RoleArn=role, RoleSessionName="session", ExternalId="54321")
    assert is_denied(sts.assume_role, RoleArn=role, RoleSessionName="session")


def test_a_deny_in_a_trust_policy_wins(account):
    """IAM: reference_policies_evaluation-logic.html."""
    caller = Acting(account, allow("sts:AssumeRole", "*"))
    statements = [
        {"Effect": effect, "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}
        for effect, principal in (("Allow", ACCOUNT), ("Deny", caller.role))
    ]
    role = trusted(account, json.dumps({"Version": "2012-10-17", "Statement": statements}))
    assert "explicit deny" in refusal(caller("sts").assume_role, RoleArn=role, RoleSessionName="session")[2]
    account.client("sts").assume_role(RoleArn=role, RoleSessionName="session")


def test_services_assume_only_roles_that_trust_them_from_where_they_say(account):
    """IAM: id_roles_create_for-service.html and confused-deputy.html."""
    machine = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:m"
    role = account.role("states.amazonaws.com", conditions={"ArnLike": {"aws:SourceArn": f"{machine[:-1]}*"}})
    authorizer = account.cloud.authorizer
    assert authorizer.assume(role, "states.amazonaws.com", "s", machine).principal.arn == role
    for service, source in (("states.amazonaws.com", "arn:aws:states:us-east-1:1:x:y"), ("states.amazonaws.com", ""), (LAMBDA, machine)):
        with pytest.raises(Exception, match="not authorized to perform: sts:AssumeRole"):
            authorizer.assume(role, service, "s", source)


def test_a_session_says_who_it_is(account):
    """STS/latest/APIReference/API_GetCallerIdentity.html: no permission is needed, not even against a Deny; UserId is role id:session."""
    nobody = Acting(account, deny("*", "*"))
    identity = nobody("sts").get_caller_identity()
    unique = account.client("iam").get_role(RoleName=nobody.role.rpartition("/")[2])["Role"]["RoleId"]
    assert (identity["Account"], identity["Arn"], identity["UserId"]) == (ACCOUNT, session_of(nobody.role), f"{unique}:tester")
    assert account.client("sts").get_caller_identity()["UserId"] == ACCOUNT
    assumed = account.client("sts").assume_role(RoleArn=nobody.role, RoleSessionName="other")["AssumedRoleUser"]
    assert assumed["AssumedRoleId"] == f"{unique}:other"


def test_a_session_is_no_longer_than_its_role_allows(account):
    """STS/latest/APIReference/API_AssumeRole.html, DurationSeconds and role chaining."""
    role = account.role(LAMBDA)
    long = account.role(LAMBDA)
    account.client("iam").update_role(RoleName=long.rpartition("/")[2], MaxSessionDuration=7200)
    sts = account.client("sts")
    code, status, message = refusal(sts.assume_role, RoleArn=role, RoleSessionName="session", DurationSeconds=7200)
    assert (code, status, message) == ("ValidationError", 400, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    sts.assume_role(RoleArn=long, RoleSessionName="session", DurationSeconds=7200)
    chained = Acting(account, allow("sts:AssumeRole", "*"))("sts")
    assert "role chaining" in refusal(chained.assume_role, RoleArn=long, RoleSessionName="session", DurationSeconds=7200)[2]


@pytest.mark.parametrize("more", [{"Policy": "{}"}, {"Tags": [{"Key": "a", "Value": "b"}]}, {"SourceIdentity": "me"}])
def test_what_sessions_do_not_know_is_refused_by_name(account, more):
    code, _, message = refusal(account.client("sts").assume_role, RoleArn=account.role(LAMBDA), RoleSessionName="session", **more)
    assert code == "NotSupportedByLocalcloud"
    assert next(iter(more)) in message


# keys


CALLS: dict[str, Callable[[Any], Any]] = {
    "s3": lambda c: c.list_buckets(),
    "iam": lambda c: c.list_roles(),
    "sns": lambda c: c.list_topics(),
    "sts": lambda c: c.get_caller_identity(),
    "cloudformation": lambda c: c.list_stacks(),
    "cloudwatch": lambda c: c.list_metrics(),
    "sqs": lambda c: c.list_queues(),
    "dynamodb": lambda c: c.list_tables(),
    "kms": lambda c: c.list_keys(),
    "logs": lambda c: c.describe_log_groups(),
    "lambda": lambda c: c.list_functions(),
}
QUERY = ("iam", "sns", "sts", "cloudformation", "cloudwatch", "sqs")


@pytest.mark.parametrize("service", CALLS)
def test_an_unknown_key_is_refused_with_the_services_code(account, service):
    """S3: API/ErrorResponses.html InvalidAccessKeyId 403; query services InvalidClientTokenId 403; UnrecognizedClientException else,
    403 in REST and 400 in JSON: each API's "Common Errors"."""
    expected = ("InvalidClientTokenId", 403) if service in QUERY else ("UnrecognizedClientException", 400)
    expected = {"s3": ("InvalidAccessKeyId", 403), "lambda": ("UnrecognizedClientException", 403)}.get(service, expected)
    code, status, message = refusal(lambda: CALLS[service](client(account, service, "AKIAIOSFODNN7EXAMPLE")))
    assert (code, status) == expected
    assert ("does not exist in our records" if service == "s3" else "The security token included in the request is invalid") in message


@pytest.mark.parametrize("service", CALLS)
def test_a_wrong_session_token_is_refused(account, service):
    """S3: API/ErrorResponses.html InvalidToken 400; elsewhere like an unknown key."""
    keys = account.client("sts").assume_role(RoleArn=account.role(LAMBDA), RoleSessionName="session")["Credentials"]
    expected = "InvalidToken" if service == "s3" else "InvalidClientTokenId" if service in QUERY else "UnrecognizedClientException"
    assert refusal(lambda: CALLS[service](client(account, service, keys["AccessKeyId"], "wrong")))[0] == expected
    assert refusal(lambda: CALLS[service](client(account, service, keys["AccessKeyId"])))[0] == (
        "InvalidAccessKeyId" if service == "s3" else expected
    )


@pytest.mark.parametrize("service", ["s3", "sts", "sqs", "dynamodb", "lambda"])
def test_keys_of_a_session_expire_by_the_clock(account, service):
    """IAM: id_credentials_temp_control-access…: "The security token included in the request is expired"; S3 has a sentence of its own."""
    role = account.role(LAMBDA, allow("*", "*"))
    keys = account.client("sts").assume_role(RoleArn=role, RoleSessionName="session", DurationSeconds=900)["Credentials"]
    now = account.cloud.clock.now()
    assert abs(keys["Expiration"].timestamp() - now - 900) < 5
    session = client(account, service, keys["AccessKeyId"], keys["SessionToken"])
    account.cloud.clock.advance(880)
    CALLS[service](session)
    account.cloud.clock.advance(25)
    code, status, message = refusal(lambda: CALLS[service](session))
    expected = {"s3": ("ExpiredToken", 400), "dynamodb": ("ExpiredTokenException", 400), "lambda": ("ExpiredTokenException", 403)}
    assert (code, status) == expected.get(service, ("ExpiredToken", 403))
    assert "expired" in message


@pytest.mark.parametrize(
    ("path", "headers", "status", "told"),
    [
        ("/bucket/key", {}, 403, "<Code>AccessDenied</Code><Message>Access Denied</Message>"),  # to S3 it is an anonymous request
        ("/", {"X-Amz-Target": "DynamoDB_20120810.ListTables"}, 400, "MissingAuthenticationTokenException"),
        ("/", {"Content-Type": "application/x-www-form-urlencoded"}, 403, "<Code>MissingAuthenticationToken</Code>"),
        ("/2015-03-31/functions/", {}, 403, "MissingAuthenticationTokenException"),
        ("/moto-api/reset", {}, 403, "AccessDenied"),
        ("/moto-api/data.json", {}, 403, "AccessDenied"),
        ("/latest/meta-data/iam/security-credentials/", {}, 403, "AccessDenied"),
    ],
)
def test_an_unsigned_request_is_refused(account, path, headers, status, told):
    """Each protocol's way: S3 API/ErrorResponses.html, "Common Errors" of the others."""
    for method in ("GET", "POST"):
        answer = ask(account, path, method, headers, b"{}" if method == "POST" else None)
        assert answer[0] == status
        assert told in answer[1].decode()


# presigned URLs: S3 userguide/using-presigned-url.html


def fetch(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_presigned_url_does_what_its_signer_may(account, bucket, version):
    keys = account.client("sts").assume_role(RoleArn=account.role(LAMBDA, allow("s3:*", objects(bucket, "in/*"))), RoleSessionName="session")[
        "Credentials"
    ]
    s3 = client(account, "s3", keys["AccessKeyId"], keys["SessionToken"], signature_version=version)

    def url(operation: str, key: str, **more: Any) -> str:
        return s3.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": key}, **more)

    assert fetch(url("get_object", "in/a")) == (200, b"a")
    assert fetch(url("put_object", "in/p"), "PUT", bytes(range(256)), **{"Content-Type": "application/x-www-form-urlencoded"})[0] == 200
    assert fetch(url("get_object", "in/p")) == (200, bytes(range(256)))
    assert fetch(url("head_object", "in/a"), "HEAD") == (200, b"")
    assert fetch(url("delete_object", "in/p"), "DELETE")[0] == 204
    status, body = fetch(url("get_object", "out/a"))
    assert (status, b"<Code>AccessDenied</Code>" in body, b"s3:GetObject" in body) == (403, True, True)
    status, body = fetch(url("get_object", "in/a", ExpiresIn=-10))
    assert (status, b"Request has expired" in body) == (403, True)
    assert fetch(url("get_object", "in/a").replace(keys["AccessKeyId"], "ASIAIOSFODNN7EXAMPLE"))[0] == 403


def test_a_presigned_url_of_another_service_is_not_taken_for_s3(account, bucket):
    """The scope says sqs: the right to list queues reads no object."""
    scope = f"{KEY}%2F20260101%2F{REGION}%2Fsqs%2Faws4_request"
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    _, body, _ = ask(account, f"/{bucket}/in/a?Action=ListQueues&X-Amz-Credential={scope}&X-Amz-Date={now}&X-Amz-Expires=60&X-Amz-Signature=0")
    assert body != b"a"
    status, body, _ = ask(account, f"/{bucket}/in/a?X-Amz-Credential={scope}&X-Amz-Date=yesterday&X-Amz-Signature=0")
    assert (status, b"AuthorizationQueryParametersError" in body) == (400, True)
