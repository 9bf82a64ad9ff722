"""S3's events. Two seams of moto: `_send_event_bridge_message`, called for changes in a bucket that notifies EventBridge, and
`delete_object`, since moto tells nothing of what happens to a versioned object.

Source of the shape: docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html, and as recorded against AWS in
github.com/localstack/localstack tests/aws/services/s3/test_s3_notifications_eventbridge.snapshot.json
"""

import itertools
import time
import uuid
from typing import Any

import moto.s3.notifications as moto_s3
from moto.s3.models import S3Backend

from localcloud import ACCOUNT
from localcloud.events.bus import EventBus

CREATED = {"Put": "PutObject", "Post": "POST Object", "Copy": "CopyObject", "CompleteMultipartUpload": "CompleteMultipartUpload"}
PERMANENT, MARKED = "Permanently Deleted", "Delete Marker Created"

_delete = S3Backend.delete_object


class ObjectEvents:
    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._sequence = itertools.count(int(time.time() * 1000) << 20)

    def install(self) -> None:
        moto_s3._send_event_bridge_message = lambda account_id, bucket, event_name, key: self.send(bucket, event_name, key)

        def delete(backend: S3Backend, bucket_name: str, key_name: str, version_id: str | None = None, bypass: bool = False) -> Any:
            bucket = backend.get_bucket(bucket_name)
            known = version_id is None or any(str(key.version_id) == version_id for key in bucket.keys.getlist(key_name, []))
            done, about = _delete(backend, bucket_name, key_name, version_id, bypass)
            if done and known and bucket.is_versioned and _notifies(bucket):
                self._deleted(bucket, {"key": key_name, "version-id": about["version-id"]}, PERMANENT if version_id else MARKED)
            return done, about

        S3Backend.delete_object = delete

    def send(self, bucket: Any, event_name: str, key: Any) -> None:
        """`event_name` is S3's own, like s3:ObjectCreated:Put. What is no creation or deletion is not sent."""
        kind, _, how = event_name.removeprefix("s3:").partition(":")
        if kind == "ObjectCreated" and not (how == "Put" and key.multipart is not None):  # moto tells of an upload's end twice
            version = {"version-id": key.version_id} if bucket.is_versioned else {}
            self._created(bucket, {"key": key.name, "size": key.size, "etag": key.etag.strip('"')} | version, CREATED[how])
        elif kind == "ObjectRemoved" and not bucket.is_versioned:
            self._deleted(bucket, {"key": key.name}, PERMANENT)

    def _created(self, bucket: Any, item: dict[str, Any], reason: str) -> None:
        self._bus.emit("aws.s3", "Object Created", self._detail(bucket, item) | {"reason": reason}, [bucket.arn])

    def _deleted(self, bucket: Any, item: dict[str, Any], how: str) -> None:
        detail = self._detail(bucket, item) | {"reason": "DeleteObject", "deletion-type": how}
        self._bus.emit("aws.s3", "Object Deleted", detail, [bucket.arn])

    def _detail(self, bucket: Any, item: dict[str, Any]) -> dict[str, Any]:
        return {
            "version": "0", "bucket": {"name": bucket.name}, "object": item | {"sequencer": f"{next(self._sequence):016x}"},
            "request-id": uuid.uuid4().hex[:16].upper(), "requester": ACCOUNT, "source-ip-address": "127.0.0.1",
        }  # fmt: skip


def _notifies(bucket: Any) -> bool:
    return bucket.notification_configuration is not None and bucket.notification_configuration.event_bridge is not None
