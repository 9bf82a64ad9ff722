"""What erasing asks of S3, on moto in process: every version is seen, and deleted for good."""

import boto3
import pytest
from moto import mock_aws

from tidemill.adapters import aws
from tidemill.adapters.aws import S3Store
from tidemill.errors import ObjectKept, ObjectMissing


@pytest.fixture
def store(monkeypatch) -> S3Store:
    for name, value in {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="lake")
        s3.put_bucket_versioning(Bucket="lake", VersioningConfiguration={"Status": "Enabled"})
        yield S3Store("lake")


def test_versions_and_markers_of_deletions_are_listed_and_go_for_good(store):
    for data in (b"one", b"two"):
        store.put("a/b", data)
    store.put("a/c", b"three")
    boto3.client("s3").delete_object(Bucket="lake", Key="a/b")
    found = store.list_versions("a/b")
    assert [key for key, _ in found] == ["a/b"] * 3
    contents = []
    for key, version in found:
        try:
            contents.append(store.get(key, version))
        except ObjectMissing:
            contents.append(b"a marker")
    assert sorted(contents) == [b"a marker", b"one", b"two"]
    for _ in range(2):  # what is gone already is fine
        store.delete_versions(found)
    assert [key for key, _ in store.list_versions("a/")] == ["a/c"]


def test_more_than_one_request_can_take_are_deleted(store, monkeypatch):
    monkeypatch.setattr(aws, "DELETE_AT_ONCE", 4)
    for at in range(9):
        store.put(f"many/{at}", b"")
    store.delete_versions(store.list_versions("many/"))
    assert store.list_versions("many/") == []
    store.delete_versions([])


def test_a_version_that_s3_keeps_is_an_error_that_names_it(store, monkeypatch):
    store.put("a", b"one")
    kept = {"Errors": [{"Key": "a", "VersionId": "v", "Code": "AccessDenied", "Message": "no"}]}
    monkeypatch.setattr(store._s3, "delete_objects", lambda **_: kept)
    with pytest.raises(ObjectKept, match="1 versions were not deleted, the first: s3://lake/a: AccessDenied: no"):
        store.delete_versions(store.list_versions("a"))
