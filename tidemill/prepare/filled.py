"""Chunks of any size as a stream that gives as many bytes as are asked for: blocks depend on the content alone."""

from collections.abc import Iterator


class Filled:
    """Chunks as a stream that gives exactly as many bytes as are asked for, until it ends."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest, self.ended = chunks, b"", False

    def take(self, size: int) -> bytes:
        parts, have = [self._rest], len(self._rest)
        while have < size and not self.ended:
            chunk = next(self._chunks, None)
            self.ended = chunk is None
            parts.append(chunk or b"")
            have += len(chunk or b"")
        data = b"".join(parts)
        self._rest = data[size:]
        self.ended = self.ended and not self._rest
        return data[:size]
