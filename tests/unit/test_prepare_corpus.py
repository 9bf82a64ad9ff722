"""Every bad file ends in a part, in rejects with a reason, or refused with a reason; never in a crash, a hang, or silence."""

import io

import polars as pl
import pytest

from tests.corpus.bad_files import BadFile, bad_files
from tests.samples import SPEC, spec
from tidemill.errors import UploadRefused
from tidemill.prepare.part import PreparedPart, prepare_upload

FILES = bad_files()
MAX_BYTES = 40_000_000


def test_there_are_at_least_200():
    assert len(FILES) >= 200


@pytest.mark.parametrize("file", FILES, ids=[file.id for file in FILES])
@pytest.mark.timeout(120)
def test_a_bad_file_ends_in_a_part_or_with_a_reason(file: BadFile, tmp_path):
    model = spec(SPEC.replace("quiet_s = 60", f'quiet_s = 60\nformat = "{file.format}"'))
    try:
        part = prepare_upload(io.BytesIO(file.data), file.name, model, tmp_path, max_bytes=MAX_BYTES)
    except UploadRefused as refusal:
        told = str(refusal)
    else:
        told = ""
        assert_accounts_for_every_row(part)
    assert not told or 10 < len(told) < 1000


def assert_accounts_for_every_row(part: PreparedPart) -> None:
    record = part.record
    rejects = pl.read_parquet(part.rejects)
    assert record.rows == record.kept + record.rejected
    assert record.kept == sum(pl.read_parquet(path).height for path in part.files.values()) > 0
    assert rejects["line"].n_unique() == record.rejected
    assert rejects["rule"].null_count() == 0
    assert (rejects["rule"].str.len_chars() > 0).all()
    assert sum(record.rejects_by_rule.values()) == rejects.height
