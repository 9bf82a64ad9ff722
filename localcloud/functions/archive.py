"""The zips of functions and layers: they are kept unpacked, on disk only."""

import base64
import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

from localcloud.functions.limits import check_size, invalid

OWNER = 0o700
"""Whoever runs localcloud must be able to read and remove what was unpacked."""


@dataclass(frozen=True)
class Archive:
    """A zip that was given: its hash as Lambda tells it, both sizes, and the folder of its content."""

    sha256: str
    zipped_bytes: int
    unzipped_bytes: int
    folder: Path


def read_archive(data: bytes, folder: Path) -> Archive:
    """What is to lie below `folder`. Raises InvalidParameterValueException for what is no zip, or too large a one."""
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unzipped_bytes = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise invalid("Could not unzip uploaded file. Please check your file, then try to upload again.") from error
    check_size(unzipped_bytes, 0)
    return Archive(digest, len(data), unzipped_bytes, folder / digest.replace("/", "_").replace("=", ""))


def extract(data: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            file = Path(archive.extract(entry, folder))
            if mode := entry.external_attr >> 16 & 0o777:
                file.chmod(mode | OWNER)
