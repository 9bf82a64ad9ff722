"""prepare: the rows of one upload become an immutable part, its rejects and its profile."""

VERSION = 1
"""Part of every part's id. Raise it when the same upload under the same spec would give other bytes."""
