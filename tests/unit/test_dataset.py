"""A dataset names rows and copies none; each side of a split is whole days or hashed keys; a window has bounds."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parts import UNTIMED, window
from tests.samples import by_key, spec
from tidemill.dataset import SPLITS, Candidate, DatasetPart, PartFile, assemble, describe, summarize
from tidemill.errors import DatasetRefused, SpecError
from tidemill.spec import load_spec


def part(name: str, days: list[str], *, excluded: bool = False, received: str = "2024-06-01") -> Candidate:
    """A part with a file a day."""
    files = tuple(PartFile(name=day, rows=10, size_bytes=1, sha256="") for day in days)
    return Candidate(DatasetPart(id=name, files=files, days=(days[0], days[-1]) if days else None), received, excluded)


def sides(name: str, first: str | None = None, last: str | None = None, *, excluded: bool = False, received: str = "2024-06-01") -> Candidate:
    """A part with a file a side."""
    files = tuple(PartFile(name=side, rows=10, size_bytes=1, sha256="") for side in SPLITS)
    return Candidate(DatasetPart(id=name, files=files, days=(first, last) if first and last else None), received, excluded)


def january(last: int = 31, first: int = 1) -> list[str]:
    return [f"2013-01-{day:02d}" for day in range(first, last + 1)]


def ids(dataset) -> list[str]:
    return [each.id for each in dataset.parts]


def test_a_month_is_cut_by_whole_days():
    flights = load_spec(Path(__file__).resolve().parents[2] / "models/flights/model.toml")
    dataset = assemble((part("p1", january()),), flights)
    assert dataset.split.cuts.train == ("2013-01-01", "2013-01-25")
    assert dataset.split.cuts.test == ("2013-01-29", "2013-01-31")
    assert describe(dataset, "train") == "1–25 January 2013"


@given(st.sets(st.integers(1, 28), min_size=5, max_size=28))
def test_every_day_lies_on_exactly_one_side_and_time_runs_forward(days):
    dataset = assemble((part("p", [f"2024-02-{day:02d}" for day in sorted(days)]),), spec())
    sides = [[file.name for _, file in dataset.files(split)] for split in SPLITS]
    assert sorted(name for side in sides for name in side) == sorted(f"2024-02-{day:02d}" for day in days)
    assert max(sides[0]) < min(sides[1]) <= max(sides[1]) < min(sides[2])


@pytest.mark.parametrize("days", [[], ["2024-05-01"], ["2024-05-01", "2024-05-02"]])
def test_too_few_days_are_refused_with_the_count(days):
    parts = (part("p", days),) if days else ()
    with pytest.raises(DatasetRefused, match=r"day|nothing to learn from"):
        assemble(parts, spec())


def test_the_id_covers_parts_cuts_window_and_what_was_excluded():
    base = assemble((part("a", january(10)),), spec())
    assert base.id == assemble((part("a", january(10)),), spec()).id
    others = [
        assemble((part("b", january(10)),), spec()),
        assemble((part("a", january(11)),), spec()),
        assemble((part("a", january(10)),), window("9d")),
        assemble((part("a", january(10)), part("b", january(10), excluded=True)), spec()),
        assemble((part("a", january(10)),), spec(spec_with_salt())),
    ]
    assert len({base.id, *(other.id for other in others)}) == 1 + len(others)


def test_the_id_of_a_dataset_stays_the_same_for_ever():
    """A change here changes every dataset's id: runs would learn again from what they know. It needs a reason."""
    assert assemble((part("a", january(10)),), spec()).id == "81f8335bbbf8e667a8a2ab180bfb5f01"


def spec_with_salt() -> str:
    from tests.samples import SPEC

    return SPEC.replace("test = 0.2 }", 'test = 0.2, salt = "s" }')


def test_days_count_back_from_the_newest_day_that_has_rows():
    dataset = assemble((part("old", january(20)), part("new", january(31, 21))), window("15d"))
    assert (dataset.window.by, dataset.window.first_day, dataset.window.last_day) == ("rows", "2013-01-17", "2013-01-31")
    assert [file.name for each in dataset.parts for file in each.files] == january(31, 17)
    assert dataset.rows_from is None


def test_a_part_wholly_before_the_window_is_not_in_the_dataset():
    assert ids(assemble((part("old", january(9)), part("new", january(31, 10))), window("22d"))) == ["new"]


def test_with_a_split_by_key_rows_before_the_window_are_left_out_when_they_are_read():
    candidates = (sides("old", "2024-01-01", "2024-02-28"), sides("across", "2024-02-20", "2024-03-10"), sides("new", "2024-03-11", "2024-03-31"))
    dataset = assemble(candidates, window("30d", by_key()))
    assert ids(dataset) == ["across", "new"]
    assert dataset.rows_from == "2024-03-02"


def test_without_a_time_column_days_are_those_of_the_uploads():
    candidates = tuple(sides(day, received=day) for day in ("2024-05-01", "2024-05-30", "2024-06-05"))
    dataset = assemble(candidates, window("7d", UNTIMED))
    assert ids(dataset) == ["2024-05-30", "2024-06-05"]
    assert (dataset.window.by, dataset.window.first_day, dataset.window.last_day) == ("uploads", "2024-05-30", "2024-06-05")
    assert dataset.rows_from is None


def test_a_number_of_uploads_counts_those_that_are_not_excluded():
    candidates = (sides("a"), sides("b"), sides("c", excluded=True), sides("d"))
    dataset = assemble(candidates, window("2 uploads", by_key()))
    assert ids(dataset) == ["b", "d"]
    assert dataset.excluded == ("c",)
    assert ids(assemble(candidates, window("9 uploads", by_key()))) == ["a", "b", "d"]


def test_an_exclusion_outside_the_window_leaves_the_dataset_as_it_is():
    candidates = (sides("a"), sides("b"), sides("c"))
    excluded = (sides("a", excluded=True), *candidates[1:])
    assert assemble(candidates, window("2 uploads", by_key())).id == assemble(excluded, window("2 uploads", by_key())).id


def test_an_excluded_upload_moves_no_bound_of_the_window():
    candidates = (part("a", january(10)), part("b", ["2013-03-01"], excluded=True))
    assert assemble(candidates, window("10d")).window.last_day == "2013-01-10"


def test_all_excluded_is_refused_with_that_reason():
    with pytest.raises(DatasetRefused, match="every part is excluded"):
        assemble((part("a", january(), excluded=True),), spec())


def test_a_part_that_does_not_know_its_days_is_refused_not_guessed():
    with pytest.raises(DatasetRefused, match="part a does not say which days"):
        assemble((sides("a"),), window("7d", by_key()))


def test_the_summary_says_what_the_manifest_says():
    summary = summarize(assemble((part("a", january(10)), part("b", january(3), excluded=True)), spec()))
    assert (summary.parts, summary.excluded, summary.window) == (1, 1, "all")
    assert summary.rows == {"train": 60, "validation": 20, "test": 20}
    assert summary.periods["test"] == "9–10 January 2013"


@pytest.mark.parametrize("text", ["90", "0d", "-3d", "90 days", "12uploads", "0 uploads", "ALL", "", "1e3d"])
def test_a_window_that_is_none_names_what_is_allowed(text):
    with pytest.raises(SpecError, match=r'data\.window.*allowed are "all", days such as "90d", or uploads such as "12 uploads"'):
        window(text)


@pytest.mark.parametrize("text", ["all", "90d", "1d", "12 uploads", "1 upload"])
def test_windows(text):
    assert window(text).data.window == text
