"""The instances of one training job, which learn from the rows of all and hold a share each."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


class Peers(Protocol):
    """Every instance makes the same calls in the same order; each call waits for all. The first, rank 0, is the leader: it writes the model."""

    @property
    def rank(self) -> int: ...
    @property
    def count(self) -> int: ...
    def gather(self, mine: T) -> list[T]:
        """What each instance has, in the order of ranks; everywhere the same."""
        ...


@dataclass(frozen=True)
class Alone:
    """One instance has all rows."""

    rank: int = 0
    count: int = 1

    def gather(self, mine: T) -> list[T]:
        return [mine]


ALONE = Alone()
