"""S3's events. One seam of moto: `_send_event_bridge_message`, called for every change in a bucket that notifies EventBridge.

Source of the shape: docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

import itertools
import time
import uuid
from typing import Any

import moto.s3.notifications as moto_s3

from localcloud import ACCOUNT
from localcloud.events.bus import EventBus

CREATED = {"Put": "PutObject", "Post": "POST Object", "Copy": "CopyObject", "CompleteMultipartUpload": "CompleteMultipartUpload"}
DELETED = {"Delete": "Permanently Deleted", "DeleteMarkerCreated": "Delete Marker Created"}


class ObjectEvents:
    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._sequence = itertools.count(int(time.time() * 1000) << 20)

    def install(self) -> None:
        moto_s3._send_event_bridge_message = lambda account_id, bucket, event_name, key: self.send(bucket, event_name, key)

    def send(self, bucket: Any, event_name: str, key: Any) -> None:
        """`event_name` is S3's own, like s3:ObjectCreated:Put."""
        kind, _, how = event_name.removeprefix("s3:").partition(":")
        item: dict[str, Any] = {"key": key.name}
        if kind == "ObjectCreated":
            item |= {"size": key.size, "etag": key.etag.strip('"')}
        if bucket.is_versioned:
            item["version-id"] = key.version_id
        detail = {
            "version": "0", "bucket": {"name": bucket.name}, "object": item | {"sequencer": f"{next(self._sequence):016X}"},
            "request-id": uuid.uuid4().hex[:16].upper(), "requester": ACCOUNT, "source-ip-address": "127.0.0.1",
        }  # fmt: skip
        if kind == "ObjectCreated":
            self._bus.emit("aws.s3", "Object Created", detail | {"reason": CREATED.get(how, how)}, [bucket.arn])
        elif kind == "ObjectRemoved":
            more = {"reason": "DeleteObject", "deletion-type": DELETED.get(how, "Permanently Deleted")}
            self._bus.emit("aws.s3", "Object Deleted", detail | more, [bucket.arn])
