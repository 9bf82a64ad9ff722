"""DeleteObjects for somebody who may delete only some of the keys: the request without the others, the answer with their errors.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
"""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from localcloud.iam.denials import AccessDenied

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
END = b"</DeleteResult>"
NOTHING = f'<?xml version="1.0" encoding="UTF-8"?><DeleteResult xmlns="{NAMESPACE}">'.encode() + END
Denied = Sequence[tuple[int, AccessDenied]]


def remaining(p: Mapping[str, Any], denied: Denied) -> bytes:
    """The request's body with the keys that may be deleted; empty if there is none."""
    places = {place for place, _ in denied}
    kept = [item for place, item in enumerate(p["Delete"]["Objects"]) if place not in places]
    if not kept:
        return b""
    objects = "".join(f"<Object>{_element('Key', item)}{_element('VersionId', item)}</Object>" for item in kept)
    quiet = "<Quiet>true</Quiet>" if p["Delete"].get("Quiet") else ""
    return f'<Delete xmlns="{NAMESPACE}">{objects}{quiet}</Delete>'.encode()


def with_errors(answer: bytes, p: Mapping[str, Any], denied: Denied) -> bytes:
    """An answer of S3's with one Error for each key that may not be deleted."""
    items = p["Delete"]["Objects"]
    errors = "".join(
        f"<Error>{_element('Key', items[place])}{_element('VersionId', items[place])}"
        f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
        for place, error in denied
    )
    return answer.replace(END, errors.encode() + END)


def _element(name: str, item: Mapping[str, Any]) -> str:
    return f"<{name}>{escape(str(item[name]))}</{name}>" if item.get(name) else ""
