"""S3 and the keys it uses: buckets and objects, versions and prefixes, bucket policies, KMS directly and through S3.

"IAM:" names a page under docs.aws.amazon.com/IAM/latest/UserGuide/, "S3:" one under docs.aws.amazon.com/AmazonS3/latest/.
"""

from typing import Any

import pytest

from localcloud import ACCOUNT, REGION
from tests.conformance.acting import Acting, bucket_policy, is_denied, key_policy, made_bucket, objects, of, refusal, session_of
from tests.conformance.conftest import Account, allow, deny

TLS_ONLY = {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "s3:*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}


@pytest.fixture
def bucket(account: Account) -> str:
    return made_bucket(account)


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
