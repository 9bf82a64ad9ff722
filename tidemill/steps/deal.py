"""The uploads of a run dealt into bins: small ones round the table, large ones into bins of their own, which go to Glue."""

from dataclasses import dataclass

from tidemill.records import Upload

MAX_BINS = 100
MAX_LARGE = 20
"""Bins of large uploads: each is a Glue job with its workers."""
LARGE_BYTES = 1024**3
PACKED = 4
"""A packed file counts so many times its size."""
ENDINGS = (".gz", ".zst")


@dataclass(frozen=True)
class Bins:
    """Upload ids by bin, oldest first."""

    small: list[list[str]]
    large: list[list[str]]

    @property
    def all(self) -> list[list[str]]:
        return self.small + self.large


def deal(uploads: list[Upload], large_bytes: int = LARGE_BYTES) -> Bins:
    """At most MAX_BINS bins for small uploads, at most MAX_LARGE for those of more than `large_bytes`.

    An upload that a run died with lies alone as far as there are bins, so that what it does to its bin befalls no other.
    """
    small = [upload for upload in uploads if _weight(upload) <= large_bytes]
    large = [upload.id for upload in uploads if _weight(upload) > large_bytes]
    suspects = [upload.id for upload in small if upload.attempts > 1]
    fresh = [upload.id for upload in small if upload.attempts <= 1]
    places = min(len(suspects), MAX_BINS - bool(fresh))
    return Bins(_round(suspects, places) + _round(fresh, min(len(fresh), MAX_BINS - places)), _round(large, min(len(large), MAX_LARGE)))


def _weight(upload: Upload) -> int:
    return upload.size_bytes * (PACKED if upload.key.endswith(ENDINGS) else 1)


def _round(ids: list[str], count: int) -> list[list[str]]:
    return [ids[i::count] for i in range(count)]
