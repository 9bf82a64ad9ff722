"""The bytes of an upload: hashed as they come, unpacked, never more of them at a time than are asked for."""

import hashlib
import sys
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

from tidemill.errors import UploadRefused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK = 1024 * 1024
MAX_WINDOW_LOG = 27
"""128 MiB: what zstd itself unpacks without being told to; a frame may ask for more memory than that."""
ENDINGS = (".gz", ".zst")


class Source:
    """One upload that is read once from a stream, then as often as needed from `copy`.

    A stream that can be read again (a file) is its own copy; another one is copied into the work folder on the way.
    """

    def __init__(self, stream: BinaryIO, name: str, work: Path, max_bytes: int) -> None:
        self.name = name
        self.stem, self._packed = _unpacked_name(name)
        self._stream, self._max_bytes = stream, max_bytes
        self._start = stream.tell() if stream.seekable() else None
        self._copy = work / "upload"
        self._sha256 = hashlib.sha256()
        self._read = False

    @property
    def sha256(self) -> str:
        """Of the upload as it came; known once it was read to its end."""
        return self._sha256.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """The unpacked content.

        Raises UploadRefused when it is not what its ending says, cut short, or larger than `max_bytes`.
        """
        seen = 0
        raw = self._again() if self._read else self._first()
        for chunk in _unpack(raw, self._packed):
            seen += len(chunk)
            if seen > self._max_bytes:
                raise UploadRefused(
                    f"the file holds more than {self._max_bytes:,} bytes{' unpacked' * bool(self._packed)}; split it into smaller files"
                )
            yield chunk

    def unpacked(self, chunks: Iterator[bytes]) -> Path:
        """The content as a file, for formats that are not read from front to back."""
        target = self._copy.with_suffix(".unpacked")
        with target.open("wb") as out:
            out.writelines(chunks)
        return target

    def _first(self) -> Iterator[bytes]:
        self._read = True
        copy = None if self._start is not None else self._copy.open("wb")
        try:
            while chunk := self._stream.read(CHUNK):
                self._sha256.update(chunk)
                if copy is not None:
                    copy.write(chunk)
                yield chunk
        finally:
            if copy is not None:
                copy.close()

    def _again(self) -> Iterator[bytes]:
        if self._start is not None:
            self._stream.seek(self._start)
            yield from iter(lambda: self._stream.read(CHUNK), b"")
        else:
            with self._copy.open("rb") as stream:
                yield from iter(lambda: stream.read(CHUNK), b"")


def _unpacked_name(name: str) -> tuple[str, str]:
    for ending in ENDINGS:
        if name.endswith(ending):
            return name.removesuffix(ending), ending
    return name, ""


def _unpack(raw: Iterator[bytes], packed: str) -> Iterator[bytes]:
    if not packed:
        yield from raw
        return
    kind, frame = ("gzip", _gzip_frame) if packed == ".gz" else ("zstd", _zstd_frame)
    done, rest = 0, next(raw, b"")
    try:
        while rest:  # a file may hold several frames, one after another
            unpacking = frame(rest, raw)
            while True:
                try:
                    part = next(unpacking)
                except StopIteration as end:
                    rest = end.value or next(raw, b"")
                    break
                done += len(part)
                yield part
    except (zlib.error, zstd.ZstdError) as error:
        raise UploadRefused(f"not a {kind} file, or broken after {done:,} bytes: {error}") from error
    except EOFError as error:
        raise UploadRefused(f"the {kind} stream is cut short after {done:,} bytes; upload the file again") from error


def _gzip_frame(data: bytes, raw: Iterator[bytes]) -> Generator[bytes, None, bytes]:
    """Unpack one member, at most CHUNK bytes at a time however well it is packed; returns what follows it."""
    unpack = zlib.decompressobj(wbits=31)
    while not unpack.eof:
        if part := unpack.decompress(data, CHUNK):
            yield part
        data = unpack.unconsumed_tail
        if not data and not unpack.eof and not part:
            data = _more(raw)
    return unpack.unused_data.lstrip(b"\0")


def _zstd_frame(data: bytes, raw: Iterator[bytes]) -> Generator[bytes, None, bytes]:
    unpack = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG})
    while not unpack.eof:
        if part := unpack.decompress(data, CHUNK):
            yield part
        data = _more(raw) if unpack.needs_input and not unpack.eof else b""
    return unpack.unused_data


def _more(raw: Iterator[bytes]) -> bytes:
    if not (data := next(raw, b"")):
        raise EOFError
    return data
