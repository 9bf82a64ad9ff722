"""Who may do what: every call against the caller's policies, the resource's, and the words of a refusal.

"IAM:" names a page under docs.aws.amazon.com/IAM/latest/UserGuide/, "S3:" one under docs.aws.amazon.com/AmazonS3/latest/.
"""

import http.client
import io
import json
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from localcloud import ACCOUNT, KEY, REGION
from localcloud.iam.evaluate import Principal
from tests.conformance.conftest import Account, allow, deny

LAMBDA = "lambda.amazonaws.com"
TLS_ONLY = {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "s3:*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}


def refusal(call: Callable[..., Any], **parameters: Any) -> tuple[str, int, str]:
    """(code, HTTP status, message) of a call that must fail."""
    with pytest.raises(ClientError) as error:
        call(**parameters)
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def is_denied(call: Callable[..., Any], **parameters: Any) -> bool:
    """Whether the call is refused for want of permission, whatever the service calls that; it may fail for another reason."""
    return error_of(call, **parameters) in ("AccessDenied", "AccessDeniedException", "AuthorizationError", "403")


def error_of(call: Callable[..., Any], **parameters: Any) -> str:
    """The code of a call's error; "" if it succeeds."""
    try:
        call(**parameters)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def session_of(role: str) -> str:
    return f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/tester"


class Acting:
    """A fresh role with some statements, and clients of a session of it."""

    def __init__(self, account: Account, *statements: dict) -> None:
        self.role = account.role(LAMBDA, *statements)
        self._client = account.acting(self.role)
        self._clients: dict[str, Any] = {}

    def __call__(self, service: str) -> Any:
        return self._clients.setdefault(service, self._client(service))


@pytest.fixture
def bucket(account: Account) -> str:
    name = account.name("bucket")
    account.client("s3").create_bucket(Bucket=name)
    account.client("s3").put_object(Bucket=name, Key="in/a", Body=b"a")
    return name


def objects(bucket: str, pattern: str = "*") -> str:
    return f"arn:aws:s3:::{bucket}/{pattern}"


def of(bucket: str) -> str:
    return f"arn:aws:s3:::{bucket}"


def bucket_policy(account: Account, bucket: str, *statements: dict) -> None:
    account.client("s3").put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


# S3: userguide/using-with-s3-policy-actions.html, object operations are on objects, bucket operations on the bucket


def test_an_object_grant_is_no_bucket_grant_and_the_other_way_round(account, bucket):
    reader, lister = Acting(account, allow("s3:*", objects(bucket))), Acting(account, allow("s3:*", of(bucket)))
    assert reader("s3").get_object(Bucket=bucket, Key="in/a")["Body"].read() == b"a"
    assert is_denied(reader("s3").list_objects_v2, Bucket=bucket)
    assert lister("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    assert is_denied(lister("s3").get_object, Bucket=bucket, Key="in/a")
    assert is_denied(lister("s3").head_object, Bucket=bucket, Key="in/a")


def test_s3_denies_in_its_own_words(account, bucket):
    """IAM: troubleshoot_access-denied.html; S3 answers 403 AccessDenied in XML and puts the ARN in quotes."""
    nobody = Acting(account)
    code, status, message = refusal(nobody("s3").get_object, Bucket=bucket, Key="in/a")
    assert (code, status) == ("AccessDenied", 403)
    assert message == (
        f'User: {session_of(nobody.role)} is not authorized to perform: s3:GetObject on resource: "{objects(bucket, "in/a")}" '
        "because no identity-based policy allows the s3:GetObject action"
    )
    assert refusal(nobody("s3").head_object, Bucket=bucket, Key="in/a")[:2] == ("403", 403)  # S3: API/API_HeadObject.html, no body


def test_listing_may_be_limited_to_a_prefix(account, bucket):
    """S3: userguide/amazon-s3-policy-keys.html, the s3:prefix example."""
    s3 = Acting(account, allow("s3:ListBucket", of(bucket), StringLike={"s3:prefix": ["in/*", "in"]}))("s3")
    assert s3.list_objects_v2(Bucket=bucket, Prefix="in/")["KeyCount"] == 1
    assert s3.list_objects(Bucket=bucket, Prefix="in/")["Contents"]
    assert is_denied(s3.list_objects_v2, Bucket=bucket, Prefix="out/")
    assert is_denied(s3.list_objects_v2, Bucket=bucket)


def test_a_missing_key_is_missing_only_to_who_may_list(account, bucket):
    """S3: API/API_GetObject.html and API_HeadObject.html, "If the object you request doesn't exist"."""
    reader = Acting(account, allow("s3:GetObject", objects(bucket)))("s3")
    lister = Acting(account, allow("s3:GetObject", objects(bucket)), allow("s3:ListBucket", of(bucket)))("s3")
    code, status, message = refusal(reader.get_object, Bucket=bucket, Key="missing")
    assert (code, status) == ("AccessDenied", 403)
    assert "s3:ListBucket" in message
    assert refusal(reader.head_object, Bucket=bucket, Key="missing")[:2] == ("403", 403)
    assert refusal(lister.get_object, Bucket=bucket, Key="missing")[:2] == ("NoSuchKey", 404)
    assert refusal(lister.head_object, Bucket=bucket, Key="missing")[:2] == ("404", 404)


def test_a_missing_bucket_is_missing_for_everybody(account):
    """S3: API/ErrorResponses.html: NoSuchBucket is 404; there is no bucket whose listing could be forbidden."""
    reader = Acting(account, allow("s3:GetObject", "*"))("s3")
    assert refusal(reader.get_object, Bucket=account.name("no-bucket"), Key="k")[:2] == ("NoSuchBucket", 404)


def test_versions_are_other_permissions(account, bucket):
    """S3: userguide/using-with-s3-policy-actions.html: with a version id it is s3:GetObjectVersion and s3:DeleteObjectVersion."""
    root = account.client("s3")
    root.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = root.put_object(Bucket=bucket, Key="v", Body=b"1")["VersionId"]
    plain = Acting(account, allow(["s3:GetObject", "s3:DeleteObject"], objects(bucket)))("s3")
    assert plain.get_object(Bucket=bucket, Key="v")["Body"].read() == b"1"
    assert is_denied(plain.get_object, Bucket=bucket, Key="v", VersionId=version)
    assert is_denied(plain.delete_object, Bucket=bucket, Key="v", VersionId=version)
    versioned = Acting(account, allow(["s3:GetObjectVersion"], objects(bucket), StringEquals={"s3:VersionId": version}))("s3")
    assert versioned.get_object(Bucket=bucket, Key="v", VersionId=version)["Body"].read() == b"1"
    assert is_denied(versioned.get_object, Bucket=bucket, Key="v")
    assert is_denied(versioned.list_object_versions, Bucket=bucket)


def test_a_copy_reads_the_source_and_writes_the_target(account, bucket):
    """S3: API/API_CopyObject.html, "Permissions"."""
    account.client("s3").put_object(Bucket=bucket, Key="in/a b+c", Body=b"x")
    read, write = allow("s3:GetObject", objects(bucket, "in/*")), allow("s3:PutObject", objects(bucket, "out/*"))
    copy = {"Bucket": bucket, "Key": "out/a", "CopySource": {"Bucket": bucket, "Key": "in/a b+c"}}
    both = Acting(account, read, write)("s3")
    both.copy_object(**copy)
    assert is_denied(Acting(account, read)("s3").copy_object, **copy)
    assert is_denied(Acting(account, write)("s3").copy_object, **copy)
    assert is_denied(both.copy_object, **{**copy, "Key": "elsewhere"})


def test_delete_objects_answers_for_each_key(account, bucket):
    """S3: API/API_DeleteObjects.html: 200 with the deleted keys and an error for each other one."""
    root = account.client("s3")
    for key in ("out/1", "out/<2>&", "keep"):
        root.put_object(Bucket=bucket, Key=key, Body=b"")
    s3 = Acting(account, allow("s3:DeleteObject", objects(bucket, "out/*")))("s3")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "keep"}, {"Key": "out/1"}, {"Key": "out/<2>&"}, {"Key": "in/a"}]})
    assert [each["Key"] for each in answer["Deleted"]] == ["out/1", "out/<2>&"]
    assert [(each["Key"], each["Code"]) for each in answer["Errors"]] == [("keep", "AccessDenied"), ("in/a", "AccessDenied")]
    assert {each["Key"] for each in root.list_objects_v2(Bucket=bucket)["Contents"]} == {"keep", "in/a"}
    nothing = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "keep"}], "Quiet": True})
    assert [each["Key"] for each in nothing["Errors"]] == ["keep"]
    assert "Deleted" not in nothing


def test_a_multipart_upload_is_putting_an_object(account, bucket):
    """S3: userguide/mpuoverview.html#mpuAndPermissions."""
    s3 = Acting(account, allow(["s3:PutObject", "s3:AbortMultipartUpload"], objects(bucket, "out/*")))("s3")
    upload = {"Bucket": bucket, "Key": "out/big"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    part = s3.upload_part(**upload, PartNumber=1, Body=b"x" * 1000)
    assert is_denied(s3.list_parts, **upload)
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert is_denied(s3.create_multipart_upload, Bucket=bucket, Key="elsewhere")
    assert is_denied(s3.upload_part, **{**upload, "Key": "elsewhere"}, PartNumber=1, Body=b"")
    other = {"Bucket": bucket, "Key": "out/other"}
    s3.abort_multipart_upload(**other, UploadId=s3.create_multipart_upload(**other)["UploadId"])


def test_put_may_be_required_to_encrypt(account, bucket):
    """S3: userguide/UsingServerSideEncryption.html and specifying-kms-encryption.html: a Deny on s3:x-amz-server-side-encryption."""
    unless = deny("s3:PutObject", objects(bucket), StringNotEquals={"s3:x-amz-server-side-encryption": "AES256"})
    s3 = Acting(account, allow("s3:PutObject", objects(bucket)), unless)("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"", ServerSideEncryption="AES256")
    assert "explicit deny in an identity-based policy" in refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"")[2]


def test_an_acl_and_tags_need_permissions_of_their_own(account, bucket):
    """S3: API/API_PutObject.html, "Permissions"."""
    s3 = Acting(account, allow("s3:PutObject", objects(bucket)))("s3")
    assert "s3:PutObjectAcl" in refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"", ACL="private")[2]
    assert "s3:PutObjectTagging" in refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"", Tagging="a=b")[2]


# S3's policies


def test_a_bucket_policy_grants_by_itself_to_a_role_it_names(account, bucket):
    """IAM: reference_policies_evaluation-logic.html, within one account either policy suffices."""
    named, other = Acting(account), Acting(account)
    bucket_policy(account, bucket, allow("s3:GetObject", objects(bucket)) | {"Principal": {"AWS": named.role}})
    assert named("s3").get_object(Bucket=bucket, Key="in/a")["Body"].read() == b"a"
    assert is_denied(other("s3").get_object, Bucket=bucket, Key="in/a")
    assert is_denied(named("s3").put_object, Bucket=bucket, Key="in/a", Body=b"")


def test_the_cdks_tls_only_statement_lets_everything_here_pass(account, bucket):
    """aws-s3 README of the CDK, `enforceSSL` and `minimumTLSVersion`: both statements deny only what does not fulfil them."""
    on = {"Resource": [of(bucket), objects(bucket)]}
    version = TLS_ONLY | on | {"Condition": {"NumericLessThan": {"s3:TlsVersion": "1.2"}}}
    bucket_policy(account, bucket, TLS_ONLY | on, version)
    s3 = Acting(account, allow("s3:*", [of(bucket), objects(bucket)]))("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    account.client("s3").put_object(Bucket=bucket, Key="k", Body=b"")
    assert is_denied(Acting(account)("s3").get_object, Bucket=bucket, Key="k")  # a Deny that does not hold grants nothing
    bucket_policy(account, bucket, TLS_ONLY | on | {"Condition": {"Bool": {"aws:SecureTransport": "true"}}})
    assert "explicit deny in a resource-based policy" in refusal(s3.get_object, Bucket=bucket, Key="k")[2]


def test_an_explicit_deny_wins_also_over_the_account_itself(account, bucket):
    """IAM: reference_policies_evaluation-logic_policy-eval-denyallow.html."""
    s3 = Acting(account, allow("s3:*", "*"), deny("s3:DeleteObject", objects(bucket, "in/*")))("s3")
    s3.put_object(Bucket=bucket, Key="in/b", Body=b"")
    assert refusal(s3.delete_object, Bucket=bucket, Key="in/b")[2].endswith("with an explicit deny in an identity-based policy")
    bucket_policy(account, bucket, deny("s3:PutObject", objects(bucket, "in/*")) | {"Principal": "*"})
    assert refusal(s3.put_object, Bucket=bucket, Key="in/b", Body=b"")[2].endswith("with an explicit deny in a resource-based policy")
    assert is_denied(account.client("s3").put_object, Bucket=bucket, Key="in/b", Body=b"")


# KMS


@pytest.fixture
def key(account: Account) -> str:
    return account.client("kms").create_key()["KeyMetadata"]["Arn"]


def key_policy(account: Account, key: str, *statements: dict) -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement | {"Resource": "*"} for statement in statements]})
    account.client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=text)


def test_a_key_policy_must_allow_or_leave_it_to_the_account(account, key):
    """kms/latest/developerguide/key-policies.html; the default policy gives the account, and so its IAM policies, the key."""
    granted, nobody = Acting(account, allow("kms:*", key)), Acting(account)
    sealed = granted("kms").encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    code, status, message = refusal(nobody("kms").encrypt, KeyId=key, Plaintext=b"x")
    assert (code, status) == ("AccessDeniedException", 400)
    assert message.endswith("because no identity-based policy allows the kms:Encrypt action")
    key_policy(
        account,
        key,
        allow(["kms:Decrypt"], "*") | {"Principal": {"AWS": nobody.role}},
        allow("kms:PutKeyPolicy", "*") | {"Principal": {"AWS": ACCOUNT}},
    )
    assert nobody("kms").decrypt(KeyId=key, CiphertextBlob=sealed)["Plaintext"] == b"x"
    assert refusal(granted("kms").encrypt, KeyId=key, Plaintext=b"x")[2].endswith("because no resource-based policy allows the kms:Encrypt action")
    assert is_denied(account.client("kms").encrypt, KeyId=key, Plaintext=b"x")  # "no principal, including the account root user"


def test_a_key_is_the_same_by_id_alias_and_ciphertext(account, key):
    """kms/latest/developerguide/concepts.html#key-id-alias-name and API_Decrypt.html: the ARN in a policy is the key's."""
    alias = f"alias/{account.name('key')}"
    account.client("kms").create_alias(AliasName=alias, TargetKeyId=key)
    kms, nobody = Acting(account, allow(["kms:Encrypt", "kms:Decrypt"], key))("kms"), Acting(account, allow("kms:*", f"{key[:-36]}alias/*"))("kms")
    for name in (key, key.rpartition("/")[2], alias, key.rpartition(":")[0] + ":" + alias):
        sealed = kms.encrypt(KeyId=name, Plaintext=b"x")["CiphertextBlob"]
        assert is_denied(nobody.encrypt, KeyId=name, Plaintext=b"x")
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"
    assert is_denied(nobody.decrypt, CiphertextBlob=sealed)


def test_an_alias_needs_permission_on_the_alias_and_on_its_keys(account, key):
    """kms/latest/developerguide/alias-access.html."""
    other, alias = account.client("kms").create_key()["KeyMetadata"]["Arn"], f"alias/{account.name('key')}"
    on_alias = allow(["kms:CreateAlias", "kms:UpdateAlias", "kms:DeleteAlias"], f"arn:aws:kms:{REGION}:{ACCOUNT}:{alias}")
    half, whole = Acting(account, on_alias)("kms"), Acting(account, on_alias, allow("kms:*Alias", [key]))("kms")
    assert is_denied(half.create_alias, AliasName=alias, TargetKeyId=key)
    whole.create_alias(AliasName=alias, TargetKeyId=key)
    assert is_denied(whole.update_alias, AliasName=alias, TargetKeyId=other)
    assert is_denied(half.delete_alias, AliasName=alias)
    whole.delete_alias(AliasName=alias)


def encrypt(account: Account, bucket: str, key: str | None, bucket_key: bool = False) -> None:
    rule: dict[str, Any] = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"} | ({"KMSMasterKeyID": key} if key else {})}
    configuration = {"Rules": [rule | {"BucketKeyEnabled": bucket_key}]}
    account.client("s3").put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=configuration)


def test_a_bucket_with_a_customers_key_needs_the_key_to_write_and_to_read(account, bucket, key):
    """S3: userguide/UsingKMSEncryption.html, "Permissions"; kms/…/conditions-kms.html#conditions-kms-via-service."""
    encrypt(account, bucket, key)
    through_s3 = {"StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}}
    put_get = allow(["s3:PutObject", "s3:GetObject"], objects(bucket))
    without = Acting(account, put_get)
    writer = Acting(account, put_get, allow("kms:GenerateDataKey", key, **through_s3))
    reader = Acting(account, put_get, allow("kms:Decrypt", key, **through_s3))
    assert "kms:GenerateDataKey on resource: " + key in refusal(without("s3").put_object, Bucket=bucket, Key="k", Body=b"x")[2]
    writer("s3").put_object(Bucket=bucket, Key="k", Body=b"x")
    assert refusal(writer("s3").get_object, Bucket=bucket, Key="k")[:2] == ("AccessDenied", 403)
    assert is_denied(reader("s3").put_object, Bucket=bucket, Key="k", Body=b"x")
    assert reader("s3").get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert is_denied(reader("kms").decrypt, KeyId=key, CiphertextBlob=b"x")  # not through S3
    without("s3").put_object(Bucket=bucket, Key="plain", Body=b"x", ServerSideEncryption="AES256")
    assert without("s3").get_object(Bucket=bucket, Key="plain")["Body"].read() == b"x"
    assert without("s3").get_object(Bucket=bucket, Key="in/a")["Body"].read() == b"a"  # from before the bucket had a key


def test_the_key_may_be_limited_to_the_objects_encryption_context(account, bucket, key):
    """S3: userguide/UsingKMSEncryption.html#encryption-context: the object's ARN, or with an S3 Bucket Key the bucket's."""
    encrypt(account, bucket, key)
    only = {"StringLike": {"kms:EncryptionContext:aws:s3:arn": objects(bucket, "mine/*")}}
    s3 = Acting(account, allow("s3:PutObject", objects(bucket)), allow("kms:GenerateDataKey", key, **only))("s3")
    s3.put_object(Bucket=bucket, Key="mine/k", Body=b"x")
    assert is_denied(s3.put_object, Bucket=bucket, Key="yours/k", Body=b"x")
    encrypt(account, bucket, key, bucket_key=True)
    assert is_denied(s3.put_object, Bucket=bucket, Key="mine/k", Body=b"x")


def test_awss_own_key_needs_no_permission(account, bucket):
    """S3: userguide/UsingKMSEncryption.html: the AWS managed key aws/s3 is for everybody in the account who comes through S3."""
    encrypt(account, bucket, None)
    s3 = Acting(account, allow(["s3:PutObject", "s3:GetObject"], objects(bucket)))("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId="alias/aws/s3")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_parts_of_an_upload_need_the_key_too(account, bucket, key):
    """S3: API/API_CreateMultipartUpload.html: GenerateDataKey to begin, Decrypt for the parts."""
    encrypt(account, bucket, key)
    put = allow("s3:PutObject", objects(bucket))
    begin, whole = (
        Acting(account, put, allow("kms:GenerateDataKey", key))("s3"),
        Acting(account, put, allow(["kms:GenerateDataKey", "kms:Decrypt"], key))("s3"),
    )
    assert is_denied(Acting(account, put)("s3").create_multipart_upload, Bucket=bucket, Key="k")
    upload = {"Bucket": bucket, "Key": "k", "UploadId": begin.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]}
    assert is_denied(begin.upload_part, **upload, PartNumber=1, Body=b"x")
    etag = whole.upload_part(**upload, PartNumber=1, Body=b"x")["ETag"]
    whole.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})


# DynamoDB


@pytest.fixture
def table(account: Account) -> str:
    name = account.name("table")
    account.client("dynamodb").create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}, {"AttributeName": "g", "AttributeType": "S"}],
        GlobalSecondaryIndexes=[
            {"IndexName": "by-g", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}
        ],
    )  # fmt: skip
    return name


def table_arn(table: str) -> str:
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}"


ITEM = {"k": {"S": "1"}}


def test_dynamodb_denies_with_400(account, table):
    """amazondynamodb/latest/developerguide/Programming.Errors.html: AccessDeniedException is HTTP 400."""
    nobody = Acting(account)
    code, status, message = refusal(nobody("dynamodb").get_item, TableName=table, Key=ITEM)
    assert (code, status) == ("AccessDeniedException", 400)
    assert message == (
        f"User: {session_of(nobody.role)} is not authorized to perform: dynamodb:GetItem on resource: {table_arn(table)} "
        "because no identity-based policy allows the dynamodb:GetItem action"
    )


def test_a_transaction_asks_for_the_permission_of_each_item(account, table):
    """amazondynamodb/latest/developerguide/transaction-apis.html#transaction-apis-iam: there is no dynamodb:TransactWriteItems."""
    writer = Acting(account, allow(["dynamodb:PutItem", "dynamodb:GetItem"], table_arn(table)))("dynamodb")
    put = {"Put": {"TableName": table, "Item": ITEM}}
    writer.transact_write_items(TransactItems=[put])
    assert writer.transact_get_items(TransactItems=[{"Get": {"TableName": table, "Key": ITEM}}])["Responses"] == [{"Item": ITEM}]
    check = {"ConditionCheck": {"TableName": table, "Key": {"k": {"S": "2"}}, "ConditionExpression": "attribute_not_exists(k)"}}
    assert "dynamodb:ConditionCheckItem" in refusal(writer.transact_write_items, TransactItems=[put, check])[2]
    batcher = Acting(account, allow("dynamodb:BatchWriteItem", table_arn(table)))("dynamodb")
    batcher.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": ITEM}}]})
    assert is_denied(writer.batch_write_item, RequestItems={table: [{"PutRequest": {"Item": ITEM}}]})
    assert is_denied(batcher.put_item, TableName=table, Item=ITEM)
    assert is_denied(batcher.batch_get_item, RequestItems={table: {"Keys": [ITEM]}})


def test_an_index_has_an_arn_of_its_own(account, table):
    """service-authorization/…/list_amazondynamodb.html, resource type index."""
    query = {"TableName": table, "IndexName": "by-g", "KeyConditionExpression": "g = :g", "ExpressionAttributeValues": {":g": {"S": "x"}}}
    assert is_denied(Acting(account, allow("dynamodb:Query", table_arn(table)))("dynamodb").query, **query)
    Acting(account, allow("dynamodb:Query", f"{table_arn(table)}/index/*"))("dynamodb").query(**query)


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns far more often than they would, so that what is not one step comes apart."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_only_one_of_many_who_write_the_same_new_item_wins(account, table, bucket, restless):
    """amazondynamodb/latest/developerguide/WorkingWithItems.html#WorkingWithItems.ConditionalUpdate and S3: userguide/conditional-writes.html:
    a conditional write is atomic, and so is a counter."""
    dynamodb, s3 = account.client("dynamodb"), account.client("s3")

    def put(key: str) -> str:
        return error_of(dynamodb.put_item, TableName=table, Item={"k": {"S": key}}, ConditionExpression="attribute_not_exists(k)")

    def upload(key: str) -> str:
        return error_of(s3.put_object, Bucket=bucket, Key=key, Body=b"", IfNoneMatch="*")

    def add(_: int) -> None:
        count = {"UpdateExpression": "ADD n :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
        dynamodb.update_item(TableName=table, Key={"k": {"S": "counter"}}, **count)

    with ThreadPoolExecutor(8) as pool:
        for write, refused in ((put, "ConditionalCheckFailedException"), (upload, "PreconditionFailed")):
            told = list(pool.map(write, [f"new-{number // 8}" for number in range(320)]))
            assert (told.count(""), set(told)) == (40, {"", refused})
        list(pool.map(add, range(200)))
    assert dynamodb.get_item(TableName=table, Key={"k": {"S": "counter"}})["Item"]["n"] == {"N": "200"}


def test_an_object_may_be_written_and_read_by_many_at_once(account, bucket, restless):
    """S3: userguide/Welcome.html#ConsistencyModel: a reader gets one version whole, the last writer wins, nobody gets an error."""
    s3 = account.client("s3")

    def turn(number: int) -> bytes:
        s3.put_object(Bucket=bucket, Key="shared", Body=str(number % 10).encode() * 5000)
        s3.copy_object(Bucket=bucket, Key=f"copy-{number % 2}", CopySource={"Bucket": bucket, "Key": "shared"})
        return bytes(s3.get_object(Bucket=bucket, Key="shared")["Body"].read())

    with ThreadPoolExecutor(8) as pool:
        for body in pool.map(turn, range(160)):
            assert (len(body), len(set(body))) == (5000, 1)


# SQS, SNS: codes, words, policies


def test_sqs_denies_in_its_own_words(account):
    """A raw answer of AWS's: `x-amzn-query-error: AccessDenied;Sender`, HTTP 403, the action in small letters."""
    url, arn = account.queue()
    nobody = Acting(account)
    code, status, message = refusal(nobody("sqs").send_message, QueueUrl=url, MessageBody="x")
    assert (code, status) == ("AccessDenied", 403)
    assert message == (
        f"User: {session_of(nobody.role)} is not authorized to perform: sqs:sendmessage on resource: {arn} "
        "because no identity-based policy allows the sqs:sendmessage action"
    )


def test_sqs_batches_ask_for_the_action_of_one_message(account):
    """AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html."""
    url, arn = account.queue()
    sqs = Acting(account, allow(["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"], arn))("sqs")
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "x"}])
    receipt = sqs.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]
    sqs.change_message_visibility_batch(QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": receipt, "VisibilityTimeout": 0}])
    assert is_denied(sqs.delete_message_batch, QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": receipt}])


def test_sns_denies_in_its_own_words_also_under_a_topics_default_policy(account):
    """sns/latest/api/API_Publish.html: AuthorizationError, 403. The default policy asks for aws:SourceOwner, which a role never sends:
    sns/latest/dg/sns-access-policy-use-cases.html, "aws:SourceAccount versus aws:SourceOwner"."""
    topic = account.client("sns").create_topic(Name=account.name("topic"))["TopicArn"]
    nobody = Acting(account)
    code, status, message = refusal(nobody("sns").publish, TopicArn=topic, Message="x")
    assert (code, status) == ("AuthorizationError", 403)
    assert message == (
        f"User: {session_of(nobody.role)} is not authorized to perform: SNS:Publish on resource: {topic} "
        "because no identity-based policy allows the SNS:Publish action"
    )
    Acting(account, allow("sns:Publish", topic))("sns").publish(TopicArn=topic, Message="x")
    decide = account.cloud.authorizer.service
    assert decide("cloudwatch.amazonaws.com", "sns:Publish", topic, f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:a").allowed
    assert not decide("events.amazonaws.com", "sns:Publish", topic, f"arn:aws:events:{REGION}:{ACCOUNT}:rule/r").allowed


def test_subscribing_may_be_limited_to_a_protocol(account):
    """sns/latest/dg/sns-access-policy-use-cases.html, "Limit subscriptions to HTTPS": sns:Protocol, sns:Endpoint."""
    topic = account.client("sns").create_topic(Name=account.name("topic"))["TopicArn"]
    _, queue = account.queue()
    sns = Acting(account, allow("sns:Subscribe", topic, StringEquals={"sns:Protocol": "sqs"}, StringLike={"sns:Endpoint": "arn:aws:sqs:*"}))("sns")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    assert is_denied(sns.subscribe, TopicArn=topic, Protocol="email", Endpoint="a@example.com")


@pytest.mark.parametrize("source", ["SourceArn", "SourceAccount"])
@pytest.mark.parametrize("service", ["sqs", "sns", "lambda", "s3", "kms", "ecr"])
def test_a_service_comes_in_by_the_resources_policy_only_and_from_the_source_it_names(account, service, source):
    """IAM: confused-deputy.html; the policy names the service, and aws:SourceArn or aws:SourceAccount limit it."""
    rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/mine"
    condition = {"ArnEquals": {"aws:SourceArn": rule}} if source == "SourceArn" else {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    action, arn = guarded(account, service, condition)
    decide = account.cloud.authorizer.service
    assert decide("events.amazonaws.com", action, arn, rule).allowed
    assert decide("events.amazonaws.com", action, arn, f"{rule}2").allowed is (source == "SourceAccount")
    assert not decide("s3.amazonaws.com", action, arn, rule).allowed
    assert decide("s3.amazonaws.com", action, arn, rule).reason == f"because no resource-based policy allows the {action} action"


def guarded(account: Account, service: str, condition: dict) -> tuple[str, str]:
    """(action, ARN) of a new resource whose policy lets EventBridge do the action under a condition."""
    name, events = account.name("guarded"), {"Principal": {"Service": "events.amazonaws.com"}, "Condition": condition}
    match service:
        case "sqs":
            url, arn = account.queue()
            text = json.dumps({"Version": "2012-10-17", "Statement": [allow("sqs:SendMessage", arn) | events]})
            account.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": text})
            return "sqs:SendMessage", arn
        case "sns":
            arn = account.client("sns").create_topic(Name=name)["TopicArn"]
            text = json.dumps({"Version": "2012-10-17", "Statement": [allow("sns:Publish", arn) | events]})
            account.client("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=text)
            return "sns:Publish", arn
        case "lambda":
            arn = account.function("handler = print")
            key, value = next(iter(next(iter(condition.values())).items()))
            given = {key.removeprefix("aws:"): value, "Principal": "events.amazonaws.com"}
            account.client("lambda").add_permission(FunctionName=arn, StatementId="x", Action="lambda:InvokeFunction", **given)
            return "lambda:InvokeFunction", arn
        case "s3":
            account.client("s3").create_bucket(Bucket=name)
            bucket_policy(account, name, allow("s3:PutObject", objects(name)) | events)
            return "s3:PutObject", objects(name, "k")
        case "kms":
            arn = account.client("kms").create_key()["KeyMetadata"]["Arn"]
            key_policy(account, arn, allow("kms:*", "*") | {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}, allow("kms:Decrypt", "*") | events)
            return "kms:Decrypt", arn
    arn = account.client("ecr").create_repository(repositoryName=name)["repository"]["repositoryArn"]
    statement = {"Sid": "x", "Effect": "Allow", "Action": "ecr:BatchGetImage"} | events
    account.client("ecr").set_repository_policy(repositoryName=name, policyText=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    return "ecr:BatchGetImage", arn


@pytest.mark.parametrize("service", ["sqs", "sns", "s3"])
def test_a_service_is_stopped_by_a_deny_in_the_resources_policy(account, service):
    action, arn = guarded(account, service, {})
    rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/r"
    assert account.cloud.authorizer.service("events.amazonaws.com", action, arn, rule).allowed
    statements = [allow(action, arn) | {"Principal": {"Service": "events.amazonaws.com"}}, deny(action, arn) | {"Principal": "*"}]
    text = json.dumps({"Version": "2012-10-17", "Statement": statements})
    if service == "sqs":
        url = account.client("sqs").get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
        account.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": text})
    elif service == "sns":
        account.client("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=text)
    else:
        bucket_policy(account, arn.removeprefix("arn:aws:s3:::").partition("/")[0], *statements)
    decision = account.cloud.authorizer.service("events.amazonaws.com", action, arn, rule)
    assert decision.reason == "with an explicit deny in a resource-based policy"


def test_queue_topic_function_and_repository_policies_grant_to_roles(account):
    """IAM: access_policies_identity-vs-resource.html. A role's ARN as principal needs no identity policy."""
    nobody = Acting(account)
    who = {"Principal": {"AWS": nobody.role}}
    url, queue = account.queue()
    account.client("sqs").set_queue_attributes(
        QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [allow("sqs:SendMessage", queue) | who]})}
    )
    nobody("sqs").send_message(QueueUrl=url, MessageBody="x")
    assert is_denied(nobody("sqs").receive_message, QueueUrl=url)
    function = account.function("def handler(event, context): return 7")
    account.client("lambda").add_permission(FunctionName=function, StatementId="x", Action="lambda:InvokeFunction", Principal=nobody.role)
    assert nobody("lambda").invoke(FunctionName=function)["Payload"].read() == b"7"
    assert is_denied(nobody("lambda").get_function, FunctionName=function)
    name = account.name("repository")
    account.client("ecr").create_repository(repositoryName=name)
    statement = {"Sid": "x", "Effect": "Allow", "Action": "ecr:DescribeImages"} | who
    account.client("ecr").set_repository_policy(repositoryName=name, policyText=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    nobody("ecr").describe_images(repositoryName=name)
    assert is_denied(nobody("ecr").list_images, repositoryName=name)


# the other services: one that is allowed, one that is not, and the code. "400" or "403": each API's "Common Errors".


def here(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"


MACHINE = here("states", "stateMachine:machine")
EVENT = {"Source": "s", "DetailType": "d", "Detail": "{}"}


@pytest.mark.parametrize(
    ("service", "call", "parameters", "status", "action", "resource"),
    [
        ("lambda", "invoke", {"FunctionName": "nowhere"}, 403, "lambda:InvokeFunction", here("lambda", "function:nowhere")),
        ("ecr", "describe_images", {"repositoryName": "repo"}, 400, "ecr:DescribeImages", here("ecr", "repository/repo")),
        (
            "logs",
            "create_log_stream",
            {"logGroupName": "g", "logStreamName": "s"},
            400,
            "logs:CreateLogStream",
            here("logs", "log-group:g:log-stream:"),
        ),
        ("sagemaker", "describe_training_job", {"TrainingJobName": "j"}, 400, "sagemaker:DescribeTrainingJob", here("sagemaker", "training-job/j")),
        (
            "sagemaker-runtime",
            "invoke_endpoint",
            {"EndpointName": "e", "Body": b""},
            403,
            "sagemaker:InvokeEndpoint",
            here("sagemaker", "endpoint/e"),
        ),
        ("stepfunctions", "start_execution", {"stateMachineArn": MACHINE}, 400, "states:StartExecution", MACHINE),
        ("events", "put_events", {"Entries": [EVENT]}, 400, "events:PutEvents", here("events", "event-bus/default")),
        ("cloudwatch", "describe_alarms", {}, 403, "cloudwatch:DescribeAlarms", here("cloudwatch", "alarm:*")),
        ("ssm", "get_parameter", {"Name": "/p"}, 400, "ssm:GetParameter", here("ssm", "parameter/p")),
        ("cloudformation", "describe_stacks", {"StackName": "s"}, 403, "cloudformation:DescribeStacks", here("cloudformation", "stack/s/*")),
        ("iam", "get_role", {"RoleName": "r"}, 403, "iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/r"),
        ("codebuild", "start_build", {"projectName": "proj"}, 400, "codebuild:StartBuild", here("codebuild", "project/proj")),
    ],
)
def test_each_service_denies_with_its_code_and_allows_by_its_arn(account, service, call, parameters, status, action, resource):
    """AccessDeniedException, but AccessDenied in the query protocol; 400 in JSON, 403 else."""
    nobody = Acting(account)
    code = "AccessDenied" if service in ("cloudwatch", "cloudformation", "iam") else "AccessDeniedException"
    assert refusal(getattr(nobody(service), call), **parameters) == (
        code,
        status,
        f"User: {session_of(nobody.role)} is not authorized to perform: {action} on resource: {resource} "
        f"because no identity-based policy allows the {action} action",
    )
    assert not is_denied(getattr(Acting(account, allow(action, resource))(service), call), **parameters)


def test_a_metric_may_be_limited_to_a_namespace(account):
    """AmazonCloudWatch/latest/monitoring/iam-cw-condition-keys-namespace.html; the message names no resource, the action having none."""
    limited = Acting(account, allow("cloudwatch:PutMetricData", "*", StringEquals={"cloudwatch:namespace": "Mine"}))
    data = [{"MetricName": "m", "Value": 1.0}]
    limited("cloudwatch").put_metric_data(Namespace="Mine", MetricData=data)
    code, status, message = refusal(limited("cloudwatch").put_metric_data, Namespace="Yours", MetricData=data)
    assert (code, status) == ("AccessDenied", 403)
    assert message == (
        f"User: {session_of(limited.role)} is not authorized to perform: cloudwatch:PutMetricData "
        "because no identity-based policy allows the cloudwatch:PutMetricData action"
    )


def test_log_groups_are_matched_with_what_follows_their_name(account):
    """AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html: `log-group:NAME:*` for actions on a group and its streams."""
    group, other = account.name("group"), account.name("group")
    for name in (group, other):
        account.client("logs").create_log_group(logGroupName=name)
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
    logs = Acting(account, allow(["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams", "logs:DescribeLogGroups"], f"{arn}:*"))(
        "logs"
    )
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[{"timestamp": int(time.time() * 1000), "message": "x"}])
    logs.describe_log_streams(logGroupName=group)
    assert is_denied(logs.create_log_stream, logGroupName=other, logStreamName="s")
    assert is_denied(logs.describe_log_groups, logGroupNamePrefix=group)  # it is asked for all groups: "log-group::log-stream:"
    bare = Acting(account, allow("logs:CreateLogStream", arn))("logs")
    assert is_denied(bare.create_log_stream, logGroupName=group, logStreamName="t")


def test_passing_a_role_needs_permission_on_it_for_the_service(account):
    """IAM: id_roles_use_passrole.html; the message names iam:PassRole and the role."""
    passed = account.role(LAMBDA)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("index.py", "handler = print")
    create = allow("lambda:CreateFunction", "*")
    function = {"Runtime": "python3.13", "Handler": "index.handler", "Role": passed, "Code": {"ZipFile": archive.getvalue()}}
    only = {"StringEquals": {"iam:PassedToService": LAMBDA}}
    Acting(account, create, allow("iam:PassRole", passed, **only))("lambda").create_function(FunctionName=account.name("f"), **function)
    code, status, message = refusal(Acting(account, create)("lambda").create_function, FunctionName=account.name("f"), **function)
    assert (code, status) == ("AccessDeniedException", 403)
    assert f"iam:PassRole on resource: {passed} because no identity-based policy allows the iam:PassRole action" in message
    wrong = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    assert is_denied(Acting(account, create, allow("iam:PassRole", passed, **wrong))("lambda").create_function, FunctionName="f", **function)
    target = {"Id": "1", "Arn": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:m", "RoleArn": passed}
    account.client("events").put_rule(Name=(rule := account.name("rule")), EventPattern='{"source": ["x"]}')
    assert "iam:PassRole" in refusal(Acting(account, allow("events:*", "*"))("events").put_targets, Rule=rule, Targets=[target])[2]


def test_tags_at_creation_need_the_permission_to_tag(account):
    """AWSSimpleQueueService/…/API_CreateQueue.html: "you must have the sqs:CreateQueue and sqs:TagQueue permissions"."""
    sqs = Acting(account, allow("sqs:CreateQueue", "*"))("sqs")
    sqs.create_queue(QueueName=account.name("q"))
    assert "sqs:tagqueue" in refusal(sqs.create_queue, QueueName=account.name("q"), tags={"a": "b"})[2]
    limited = allow(["sqs:CreateQueue", "sqs:TagQueue"], "*", StringEquals={"aws:RequestTag/team": "a"})
    tagging = Acting(account, limited)("sqs")
    tagging.create_queue(QueueName=account.name("q"), tags={"team": "a"})
    assert is_denied(tagging.create_queue, QueueName=account.name("q"), tags={"team": "b"})
    assert is_denied(tagging.create_queue, QueueName=account.name("q"))


def test_a_policy_may_speak_of_the_callers_tags_and_session(account, bucket):
    """IAM: reference_policies_condition-keys.html (aws:PrincipalTag, aws:userid, aws:MultiFactorAuthPresent) and reference_policies_variables.html."""
    s3 = Acting(account, allow("s3:PutObject", "arn:aws:s3:::" + bucket + "/${aws:PrincipalTag/team}/*"))
    assert is_denied(s3("s3").put_object, Bucket=bucket, Key="a/k", Body=b"")
    account.client("iam").tag_role(RoleName=s3.role.rpartition("/")[2], Tags=[{"Key": "team", "Value": "a"}])
    s3("s3").put_object(Bucket=bucket, Key="a/k", Body=b"")
    assert is_denied(s3("s3").put_object, Bucket=bucket, Key="b/k", Body=b"")
    session = Acting(account, allow("s3:PutObject", "*", StringLike={"aws:userid": "*:tester"}, Bool={"aws:MultiFactorAuthPresent": "false"}))
    session("s3").put_object(Bucket=bucket, Key="k", Body=b"")


def test_a_roles_path_is_a_part_of_its_arn(account):
    """IAM: reference_identifiers.html#identifiers-arns; the request names the role without its path."""
    name = account.name("role")
    account.client("iam").create_role(RoleName=name, Path="/team/a/", AssumeRolePolicyDocument=trust({"AWS": ACCOUNT}))
    assert Acting(account, allow("iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/team/a/*"))("iam").get_role(RoleName=name)
    assert is_denied(Acting(account, allow("iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/{name}"))("iam").get_role, RoleName=name)


# boundary


def boundary(account: Account, role: str, *statements: dict) -> str:
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    arn = account.client("iam").create_policy(PolicyName=account.name("boundary"), PolicyDocument=document)["Policy"]["Arn"]
    account.client("iam").put_role_permissions_boundary(RoleName=role.rpartition("/")[2], PermissionsBoundary=arn)
    return arn


def test_a_boundary_limits_what_identity_policies_grant(account, bucket):
    """IAM: access_policies_boundaries.html."""
    limited = Acting(account, allow("s3:*", "*"))
    boundary(account, limited.role, allow("s3:GetObject", "*"), deny("s3:GetObject", objects(bucket, "secret/*")))
    limited("s3").get_object(Bucket=bucket, Key="in/a")
    put = refusal(limited("s3").put_object, Bucket=bucket, Key="k", Body=b"")
    assert put[2].endswith("because no permissions boundary allows the s3:PutObject action")
    get = refusal(limited("s3").get_object, Bucket=bucket, Key="secret/k")
    assert get[2].endswith("with an explicit deny in a permissions boundary")
    account.client("iam").delete_role_permissions_boundary(RoleName=limited.role.rpartition("/")[2])
    limited("s3").put_object(Bucket=bucket, Key="k", Body=b"")


def test_roles_may_be_made_only_with_a_boundary(account):
    """IAM: access_policies_boundaries.html#access_policies_boundaries-delegate: iam:PermissionsBoundary."""
    arn = boundary(account, account.role(LAMBDA), allow("s3:*", "*"))
    creates = allow(["iam:CreateRole", "iam:PutRolePolicy"], "*", StringEquals={"iam:PermissionsBoundary": arn})
    iam, name = Acting(account, creates)("iam"), account.name("role")
    made = {"AssumeRolePolicyDocument": trust({"Service": LAMBDA})}
    assert is_denied(iam.create_role, RoleName=account.name("role"), **made)
    iam.create_role(RoleName=name, PermissionsBoundary=arn, **made)
    policy = {"PolicyName": "p", "PolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": [allow("s3:*", "*")]})}
    iam.put_role_policy(RoleName=name, **policy)
    assert is_denied(iam.put_role_policy, RoleName=account.role(LAMBDA).rpartition("/")[2], **policy)


# trust and sessions


def trust(principal: Any, effect: str = "Allow", **conditions: dict) -> str:
    statement = {"Effect": effect, "Principal": principal, "Action": "sts:AssumeRole"} | ({"Condition": conditions} if conditions else {})
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trusted(account: Account, document: str) -> str:
    return account.client("iam").create_role(RoleName=account.name("role"), AssumeRolePolicyDocument=document)["Role"]["Arn"]


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


def client(account: Account, service: str, key: str, token: str | None = None, **config: Any) -> Any:
    return boto3.client(
        service, endpoint_url=account.cloud.endpoint, region_name=config.pop("region", REGION), aws_access_key_id=key, aws_secret_access_key="s",
        aws_session_token=token, config=Config(retries={"total_max_attempts": 1}, **config),
    )  # fmt: skip


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


def ask(account: Account, path: str, method: str = "GET", headers: dict | None = None, body: bytes | None = None) -> tuple[int, bytes, Any]:
    """A request as it is, with nothing of boto3's."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(account.cloud.endpoint).port, timeout=20)
    connection.request(method, path, body=body, headers=headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


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


def signed(service: str, key: str = KEY, region: str = REGION) -> dict[str, str]:
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"}


@pytest.mark.parametrize("path", ["/moto-api/reset", "/moto-api/data.json", "/latest/meta-data/x", "/latest/api/token"])
def test_motos_own_endpoints_are_nobodys(account, bucket, path):
    """They would reset everything; a signature for S3 does not open them, nor does a bucket's name in the host."""
    status, body, _ = ask(account, path, "POST", signed("s3"), b"")
    assert (status, b"NotSupportedByLocalcloud" in body) == (400, True)
    first, _, rest = path[1:].partition("/")
    assert ask(account, f"/{rest}", "POST", signed("s3") | {"Host": f"{first}.localhost"}, b"")[0] == 400
    assert account.client("s3").get_object(Bucket=bucket, Key="in/a")["Body"].read() == b"a"


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        (signed("nosuch"), b"the service nosuch"),
        (signed("sqs", region="eu-west-1"), b"the region eu-west-1"),
        (signed("lambda"), b"lambda:POST /"),
        (signed("dynamodb") | {"X-Amz-Target": "DynamoDB_20120810.GetItem", "Content-Type": "application/x-amz-json-1.0"}, b"SerializationException"),
    ],
)
def test_what_is_no_request_is_answered_not_dropped(account, headers, told):
    assert told in ask(account, "/", "POST", headers, b"{")[1]


def test_an_operation_without_known_permissions_is_refused_to_roles_by_name(account, bucket):
    """Not an allow and not a denial: localcloud says that it does not know."""
    everything = Acting(account, allow("*", "*"))
    code, _, message = refusal(everything("s3").get_bucket_website, Bucket=bucket)
    assert code == "NotSupportedByLocalcloud"
    assert "s3:GetBucketWebsite" in message
    assert refusal(account.client("s3").get_bucket_website, Bucket=bucket)[0] == "NoSuchWebsiteConfiguration"  # the account may ask moto


@pytest.mark.parametrize("condition", [{"StringEquals": {"aws:ResourceTag/team": "x"}}, {"StringNotEquals": {"dynamodb:Select": "x"}}])
def test_a_policy_that_is_not_understood_is_an_error_never_an_allow(account, bucket, condition):
    """A key that no request has a value for would turn a Deny into nothing."""
    role = Acting(account, allow("s3:*", "*"), deny("s3:GetObject", "*", **condition))
    code, _, message = refusal(role("s3").get_object, Bucket=bucket, Key="in/a")
    assert code == "NotSupportedByLocalcloud"
    assert next(iter(next(iter(condition.values())))) in message


def test_an_unknown_operator_in_a_resources_policy_is_an_error_for_everybody(account, bucket):
    """IAM: reference_policies_elements_condition_operators.html has no such operator; moto keeps what S3 would refuse."""
    bucket_policy(account, bucket, deny("s3:PutObject", objects(bucket), StringResembles={"aws:userid": "x"}) | {"Principal": "*"})
    for s3 in (Acting(account, allow("s3:*", "*"))("s3"), account.client("s3")):
        code, _, message = refusal(s3.get_object, Bucket=bucket, Key="in/a")
        assert code == "NotSupportedByLocalcloud"
        assert "StringResembles" in message


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


# the wire


def test_a_bucket_may_stand_in_the_host(account, bucket):
    """S3: userguide/VirtualHosting.html."""
    port = urlsplit(account.cloud.endpoint).port
    host = {"Host": f"{bucket}.localhost:{port}"}
    assert ask(account, "/in/a", headers=signed("s3") | host)[:2] == (200, b"a")
    assert ask(account, "/in/c%20d", "PUT", signed("s3") | host, b"cd")[0] == 200
    assert account.client("s3").get_object(Bucket=bucket, Key="in/c d")["Body"].read() == b"cd"
    assert b"<Key>in/a</Key>" in ask(account, "/?list-type=2", headers=signed("s3") | host)[1]
    assert ask(account, "/in/a", "HEAD", signed("s3") | host)[:2] == (200, b"")
    keys = account.client("sts").assume_role(RoleArn=account.role(LAMBDA), RoleSessionName="session")["Credentials"]
    denied = signed("s3", keys["AccessKeyId"]) | host | {"X-Amz-Security-Token": keys["SessionToken"]}
    assert b"s3:GetObject" in ask(account, "/in/a", headers=denied)[1]


def test_bodies_of_any_form_arrive_whole(account, bucket):
    """S3: API/sigv4-streaming.html (aws-chunked with a trailing checksum), chunked transfer, Expect: 100-continue, and large ones."""
    s3, large = account.client("s3"), bytes(range(256)) * 4 * 1024 * 12
    for checksum in ("CRC32", "SHA256"):
        s3.put_object(Bucket=bucket, Key="streamed", Body=io.BufferedReader(io.BytesIO(large)), ChecksumAlgorithm=checksum)  # type: ignore[arg-type]
        assert s3.get_object(Bucket=bucket, Key="streamed")["Body"].read() == large
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(account.cloud.endpoint).port, timeout=20)
    connection.request("PUT", f"/{bucket}/chunked", body=iter([b"abc", b"def"]), headers=signed("s3"), encode_chunked=True)
    assert connection.getresponse().status == 200
    assert s3.get_object(Bucket=bucket, Key="chunked")["Body"].read() == b"abcdef"


def test_a_denied_upload_is_answered_and_the_next_request_too(account, bucket):
    """The body that nobody reads must not be taken for the next request of the same client."""
    s3 = Acting(account, allow("s3:PutObject", objects(bucket, "ok")))("s3")
    for _ in range(3):
        assert is_denied(s3.put_object, Bucket=bucket, Key="no", Body=b"x" * 3_000_000)
        s3.put_object(Bucket=bucket, Key="ok", Body=b"x")


def test_threads_are_who_they_are(account):
    """Many callers at once: each is judged by its own role."""
    topic = account.client("sns").create_topic(Name=account.name("topic"))["TopicArn"]
    actors = [(Acting(account, *([allow("sns:GetTopicAttributes", topic)] if even else [])), even) for even in (True, False) * 4]
    for actor, _ in actors:
        actor("sns"), actor("sts")  # clients are not made by threads

    def one(pair: tuple[Acting, bool]) -> bool:
        actor, may = pair
        assert actor("sts").get_caller_identity()["Arn"] == session_of(actor.role)
        return is_denied(actor("sns").get_topic_attributes, TopicArn=topic) is not may

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, actors * 12))


# the recorder


def test_the_recorder_tells_calls_denials_and_unused_grants(account, bucket):
    statements = [
        allow(["s3:GetObject", "s3:PutObject"], [objects(bucket, "in/*"), objects(bucket, "other/*")]),
        allow("s3:GetObject", objects(bucket, "${aws:PrincipalTag/team}/*")),
        allow("sqs:SendMessage", "*"),
        {"Effect": "Allow", "NotAction": "iam:*", "Resource": f"arn:aws:kms:{REGION}:{ACCOUNT}:*"},
        allow("s3:DeleteObject", "*"),
        deny("s3:DeleteObject", "*"),
    ]
    actor = Acting(account, *statements)
    for _ in range(3):
        actor("s3").get_object(Bucket=bucket, Key="in/a")
    assert is_denied(actor("s3").delete_object, Bucket=bucket, Key="in/a")
    recorder = account.cloud.recorder
    mine = {(record.action, record.resource, record.allowed): count for record, count in recorder.calls() if record.caller == actor.role}
    assert mine == {("s3:GetObject", objects(bucket, "in/a"), True): 3, ("s3:DeleteObject", objects(bucket, "in/a"), False): 1}
    (denied,) = [record for record in recorder.denied() if record.caller == actor.role]
    assert str(denied) == f"DENIED {actor.role} s3:DeleteObject {objects(bucket, 'in/a')} with an explicit deny in an identity-based policy"
    assert denied.statement.effect == "Deny"
    unused = [(action, resource) for _, action, resource in recorder.unused(actor.role, account.cloud.stored.identity(actor.role))]
    assert unused == [
        ("s3:GetObject", objects(bucket, "other/*")), ("s3:PutObject", objects(bucket, "in/*")), ("s3:PutObject", objects(bucket, "other/*")),
        ("sqs:SendMessage", "*"), ("not iam:*", f"arn:aws:kms:{REGION}:{ACCOUNT}:*"),
        ("s3:DeleteObject", "*"),
    ]  # fmt: skip


def test_what_a_service_asks_for_is_recorded_too(account):
    _, arn = account.queue()
    account.cloud.authorizer.service("events.amazonaws.com", "sqs:SendMessage", arn, "arn:aws:events:us-east-1:1:rule/r")
    assert [record.caller for record in account.cloud.recorder.denied() if record.resource == arn] == ["events.amazonaws.com"]
    assert account.cloud.stored.user_id(Principal(arn="", account=ACCOUNT, service="x")) == ACCOUNT
