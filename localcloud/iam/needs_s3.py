"""What a request to S3 asks for: bucket or object, version or not, and for each key of a DeleteObjects.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html, and the API's pages.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from localcloud.errors import NotSupported
from localcloud.iam.need import Need, Parameters, fill, unknown
from localcloud.iam.operations import S3, VERSIONED

CONTEXT = {
    "ACL": "s3:x-amz-acl", "CopySource": "s3:x-amz-copy-source", "Delimiter": "s3:delimiter", "MaxKeys": "s3:max-keys",
    "MetadataDirective": "s3:x-amz-metadata-directive", "Prefix": "s3:prefix", "SSEKMSKeyId": "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "ServerSideEncryption": "s3:x-amz-server-side-encryption", "StorageClass": "s3:x-amz-storage-class", "VersionId": "s3:VersionId",
}  # fmt: skip
"""Which condition key holds which parameter; one that a request does not have is absent, as on AWS."""
COPIES = {"CopyObject", "UploadPartCopy"}


def s3_needs(operation: str, p: Parameters) -> Iterator[Need]:
    """Raises NotSupported for an operation that is not known."""
    if operation == "DeleteObjects":
        yield from (deletion(str(p["Bucket"]), item) for item in p.get("Delete", {}).get("Objects", []))
        return
    if operation in COPIES:
        bucket, key, version = copy_source(p)
        yield Need(
            "s3:GetObjectVersion" if version else "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}", {"s3:VersionId": (version,)} if version else {}
        )
    action, template = S3["PutObject"] if operation in COPIES else S3.get(operation, ("", ""))
    if not action:
        raise unknown("s3", operation)
    context = {key: (str(p[name]),) for name, key in CONTEXT.items() if p.get(name) not in (None, "")}
    resource = fill("s3", template, p)
    yield Need(_versioned(action, p), resource, context)
    if operation == "GetObjectAttributes":  # API_GetObjectAttributes.html: both s3:GetObject and s3:GetObjectAttributes
        yield Need(_versioned("s3:GetObject", p), resource, context)
    if operation in ("PutObject", "CopyObject", "CreateMultipartUpload"):  # API_PutObject.html, "Permissions"
        yield from (Need(extra, resource, context) for name, extra in (("ACL", "s3:PutObjectAcl"), ("Tagging", "s3:PutObjectTagging")) if p.get(name))


def deletion(bucket: str, item: Parameters) -> Need:
    """One key of a DeleteObjects: allowed or denied by itself."""
    version = str(item.get("VersionId") or "")
    resource = f"arn:aws:s3:::{bucket}/{item['Key']}"
    return Need("s3:DeleteObjectVersion", resource, {"s3:VersionId": (version,)}) if version else Need("s3:DeleteObject", resource)


def copy_source(p: Parameters) -> tuple[str, str, str]:
    """(bucket, key, version id or ""). The header is URL-encoded: API_CopyObject.html."""
    source: Any = p["CopySource"]
    if isinstance(source, str) and source.startswith("arn:"):
        raise NotSupported(f"copying from an access point: {source}")
    path, _, version = str(source).partition("?versionId=")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    return bucket, key, version


def _versioned(action: str, p: Parameters) -> str:
    return VERSIONED.get(action, action) if p.get("VersionId") else action
