"""prepare: the rows of one upload become an immutable part, its rejects and its profile."""

from tidemill.dataset import rules_id
from tidemill.spec import ModelSpec

VERSION = 2
"""Part of every part's id. Raise it when the same upload under the same spec would give other bytes."""


def rules_of(spec: ModelSpec) -> str:
    """What a spec and this version make of uploads."""
    return rules_id(spec.prepare_hash, VERSION)
