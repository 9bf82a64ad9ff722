"""What reading and erasing ask of S3, on moto in process: one version is read whatever comes meanwhile; every version is seen, and deleted for good."""

import io

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from tidemill.adapters import aws
from tidemill.adapters.aws import S3Object, S3Store
from tidemill.errors import ObjectForbidden, ObjectKept, ObjectMissing, ServiceUnavailable


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


def test_an_object_overwritten_while_it_is_read_is_read_as_the_version_that_was_asked_for(store, tmp_path):
    s3, size = boto3.client("s3"), 5 * aws.READ_BYTES
    (tmp_path / "file").write_bytes(b"1" * size)
    store.put_file("a", tmp_path / "file")
    version = store.list_versions("a")[0][1]
    with store.open("a", version) as stream:
        start = stream.read(10)
        s3.put_object(Bucket="lake", Key="a", Body=b"2")
        assert start + stream.read() == b"1" * size
    again = S3Object("lake", "a", version)
    assert (again.size, again.read(0, 3), store.get("a")) == (size, b"111", b"2")


def test_an_object_that_may_not_be_read_is_forbidden_not_missing(store):
    with Stubber(store._s3) as stub:
        stub.add_client_error("get_object", "AccessDenied", "no identity-based policy allows the s3:GetObject action", 403)
        with pytest.raises(ObjectForbidden, match=r"s3://lake/a: AccessDenied: no identity-based"):
            store.open("a")


def test_a_connection_that_breaks_while_an_object_is_read_is_to_be_tried_again(store):
    store.put("a", b"1" * 100)
    body = store.open("a").raw._body
    body._raw_stream = io.BytesIO(b"1" * 40)  # S3 said 100 bytes
    with pytest.raises(ServiceUnavailable, match="s3://lake/a"):
        io.BufferedReader(aws._Body(body, "s3://lake/a")).read()
