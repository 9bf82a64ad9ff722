"""Chunks of any size as a stream that gives as many bytes as are asked for: blocks depend on the content alone."""

from collections.abc import Iterator


class Filled:
    """Chunks as a stream that gives exactly as many bytes as are asked for, until it ends."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest, self.ended = chunks, b"", False

    def take(self, size: int, before: bytes = b"") -> bytes:
        """`before`, and `size` bytes more or what is left of them."""
        parts = [before]
        while size:
            part = self._rest or next(self._chunks, None)
            if part is None:
                self.ended = True
                break
            parts.append(part[:size])
            self._rest, size = part[size:], size - len(parts[-1])
        return b"".join(parts)
