"""What every role called: the record from which denied calls and unused grants are found."""

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from localcloud.iam.patterns import anything
from localcloud.iam.policy import Statement


@dataclass(frozen=True)
class Record:
    """One kind of call of one caller: a role's ARN or a service's name. `statement` allowed or denied it, if one did."""

    caller: str
    action: str
    resource: str
    allowed: bool
    reason: str
    statement: Statement | None

    def __str__(self) -> str:
        return f"{'allowed' if self.allowed else 'DENIED'} {self.caller} {self.action} {self.resource}{'' if self.allowed else f' {self.reason}'}"


class Recorder:
    """Counts calls by record, so that it stays small."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str, bool, str]] = Counter()
        self._records: dict[tuple[str, str, str, bool, str], Record] = {}
        self._lock = threading.Lock()

    def add(self, record: Record) -> None:
        key = (record.caller, record.action, record.resource, record.allowed, record.reason)
        with self._lock:
            self._counts[key] += 1
            self._records.setdefault(key, record)

    def calls(self) -> list[tuple[Record, int]]:
        """Every record and how often it came."""
        with self._lock:
            return [(self._records[key], count) for key, count in self._counts.items()]

    def denied(self) -> list[Record]:
        return [record for record, _ in self.calls() if not record.allowed]

    def clear(self) -> None:
        with self._lock:
            self._counts.clear()
            self._records.clear()

    def unused(self, role: str, statements: tuple[Statement, ...]) -> Iterator[tuple[str, str, str]]:
        """(policy, action, resource) of each grant of a role that no allowed call of it needed.

        A statement is taken apart into its pairs of one action and one resource; a list of what it does not cover (NotAction,
        NotResource) stays whole and reads `not …`. Conditions are not looked at, and a policy variable may be anything.
        """
        used = [(record.action, record.resource) for record, _ in self.calls() if record.caller == role and record.allowed]
        for statement in statements:
            if statement.effect != "Allow":
                continue
            for action, resource, grant in _grants(statement):
                if not any(grant.covers(*call, {}) for call in used):
                    yield statement.policy, action, resource


def _grants(statement: Statement) -> Iterator[tuple[str, str, Statement]]:
    """The statement narrowed to each action on each resource, and how to call these."""
    wide = replace(statement, resources=tuple(map(anything, statement.resources)), not_resources=tuple(map(anything, statement.not_resources)))
    actions = [(each, replace(wide, actions=(each,))) for each in statement.actions] or [(f"not {', '.join(statement.not_actions)}", wide)]
    for action, narrow in actions:
        pairs = zip(statement.resources, wide.resources, strict=True)
        yield from ((action, text, replace(narrow, resources=(pattern,))) for text, pattern in pairs)
        if not statement.resources:
            yield action, f"not {', '.join(statement.not_resources)}", narrow
