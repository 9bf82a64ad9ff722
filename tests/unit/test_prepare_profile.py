"""Profiles merge: in any order and grouping the same counts, and quantiles, distinct counts and frequent values within what they state."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.samples import SPEC, rows, spec
from tidemill.prepare.part import prepare
from tidemill.prepare.profile import Profile, load_profile, profile
from tidemill.prepare.sketch import DISTINCT_ERROR, DISTINCT_K, QUANTILE_ERROR, TOP_K, Distinct, Quantiles, Top
from tidemill.prepare.split import KEY_HASH, key_hashes, mix

SHARES = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99]


def rank_error(sketch: Quantiles, values: np.ndarray) -> float:
    ordered = np.sort(values)
    found = sketch.at(SHARES)
    low, high = (np.searchsorted(ordered, found, side) / len(values) for side in ("left", "right"))
    return max(max(0.0, a - share, share - b) for a, b, share in zip(low, high, SHARES, strict=True))


@pytest.mark.parametrize("kind", ["normal", "sorted", "heavy", "few"])
@pytest.mark.parametrize("pieces", [1, 7, 100])
def test_quantiles_keep_their_stated_error_however_they_were_gathered(kind, pieces):
    rng = np.random.default_rng(pieces)
    values = {"normal": rng.normal(1013, 8, 200_000), "heavy": rng.pareto(1, 200_000), "few": rng.integers(0, 9, 200_000).astype(float)}.get(kind)
    values = np.sort(rng.random(200_000)) if values is None else values
    sketch = Quantiles()
    for piece in np.array_split(values, pieces):
        sketch = sketch.merge(Quantiles.of(piece))
    assert sketch.rows == len(values)
    assert rank_error(sketch, values) <= QUANTILE_ERROR
    assert sum(map(len, sketch.levels)) < 1500


def test_quantiles_of_few_values_are_exact():
    assert Quantiles.of(np.arange(1.0, 101.0)).at([0.5, 0.01, 1.0]) == [50.0, 1.0, 100.0]


FLOATS = st.lists(st.floats(-1e6, 1e6), max_size=40).map(np.array)


@given(FLOATS, FLOATS)
@settings(max_examples=50, deadline=None)
def test_merging_quantiles_is_commutative(one, other):
    a, b = Quantiles.of(one.astype(float)), Quantiles.of(other.astype(float))
    assert [level.tolist() for level in a.merge(b).levels] == [level.tolist() for level in b.merge(a).levels]


def hashes(numbers) -> np.ndarray:
    return mix(np.asarray(numbers, np.uint64))


@given(st.lists(st.integers(0, 2000), max_size=200), st.lists(st.integers(0, 2000), max_size=200), st.lists(st.integers(0, 2000), max_size=200))
@settings(max_examples=50, deadline=None)
def test_merging_distinct_counts_is_exact(a, b, c):
    one, two, three = (Distinct.of(hashes(numbers)) for numbers in (a, b, c))
    whole = Distinct.of(hashes(a + b + c))
    for merged in (one.merge(two).merge(three), three.merge(one.merge(two)), Distinct.load(whole.dump())):
        assert (merged.hashes == whole.hashes).all()
    if len(set(a + b + c)) < DISTINCT_K:
        assert whole.count == len(set(a + b + c))


@pytest.mark.parametrize("different", [100, 511, 5000, 300_000])
@pytest.mark.parametrize("times", [1, 3])
def test_many_distinct_values_are_counted_within_three_standard_errors(different, times):
    found = Distinct.of(hashes(np.tile(np.arange(different), times))).count
    assert abs(found - different) <= (3 * DISTINCT_ERROR * different if different >= DISTINCT_K else 0)


def top(values: list[str]) -> Top:
    counted = pl.Series("v", values, pl.String).value_counts(name="n")
    return Top.of(counted["v"], counted["n"])


WORDS = st.lists(st.integers(0, 150).map(lambda n: f"w{int(n**0.5 * 12)}"), max_size=300)


@given(WORDS, WORDS, WORDS)
@settings(max_examples=60, deadline=None)
def test_frequent_values_are_too_low_by_at_most_the_error(a, b, c):
    one, two, three = top(a), top(b), top(c)
    everything = a + b + c
    for merged in (one.merge(two).merge(three), one.merge(two.merge(three)), top(everything)):
        assert merged.error <= len(everything) / (TOP_K + 1)
        for word in set(everything):
            assert everything.count(word) - merged.error <= merged.counts.get(word, 0) <= everything.count(word)
    assert one.merge(two) == two.merge(one)


def frame(text: str) -> pl.DataFrame:
    part = prepare(text.encode(), "a.csv", spec())
    return pl.concat(pl.read_parquet(data) for data in part.files.values())


def of(rows: pl.DataFrame) -> Profile:
    return profile(rows.with_columns(key_hashes(rows["id"], "boats")), spec())


@given(st.lists(st.integers(0, 200), min_size=2, max_size=4).map(sorted))
@settings(max_examples=20, deadline=None)
def test_a_profile_of_pieces_is_the_profile_of_the_whole(cuts):
    whole = frame(rows(25, 9))
    pieces = [of(whole[start:end]) for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    left, right = Profile(), Profile()
    for piece in pieces:
        left = left.merge(piece)
    for piece in reversed(pieces):
        right = piece.merge(right)
    for merged in (left, right):
        for name, column in of(whole).columns.items():
            found = merged.columns[name]
            exact = (column.count, column.missing, column.min, column.max, column.distinct.count, column.top)
            assert (found.count, found.missing, found.min, found.max, found.distinct.count, found.top) == exact
            assert found.mean == (None if column.mean is None else pytest.approx(column.mean, rel=1e-9))
            assert found.std == (None if column.std is None else pytest.approx(column.std, rel=1e-9))


def test_a_stored_profile_is_the_same_profile():
    stored = prepare(rows(20, 9).encode(), "a.csv", spec()).profile
    assert load_profile(json.loads(stored)).dump() == json.loads(stored)


def test_a_profile_of_another_version_is_not_misread():
    with pytest.raises(ValueError, match="version 99"):
        load_profile({"version": 99, "columns": {}})


def test_frequent_values_of_a_sensitive_column_are_not_in_the_profile():
    model = spec(SPEC.replace("kind = {", "kind = { sensitive = true,"))
    stored = prepare(rows().encode(), "a.csv", model).profile
    assert b"sail" in prepare(rows().encode(), "a.csv", spec()).profile
    assert b"sail" not in stored
    assert KEY_HASH.encode() not in stored
