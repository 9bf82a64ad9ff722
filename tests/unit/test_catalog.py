"""The declared tables are the files': names that SQL takes, and for every column type the type that Parquet holds."""

import io
import json

import pyarrow.parquet as pq
import pytest

from tests.samples import SPEC, rows, spec
from tests.world import NOW, World
from tidemill import catalog, keys
from tidemill.errors import SpecError, Superseded
from tidemill.prepare.split import KEY_HASH
from tidemill.spec import TEXT

IN_PARQUET = {
    "string": "string",
    "large_string": "string",
    "int64": "bigint",
    "double": "double",
    "bool": "boolean",
    "timestamp[us, tz=UTC]": "timestamp",
}


@pytest.fixture(scope="module")
def world() -> World:
    world = World()
    world.upload("boats/data/1.csv", rows() + "bad,2024-05-01T00:00:00,true,kite,north,5,1,\n")
    world.claim()
    world.prepare()
    world.assemble()
    return world


def table(name: str, text: str = SPEC) -> catalog.SqlTable:
    return next(t for t in catalog.tables(spec(text)) if t.name == catalog.table_name(spec(text).name, name))


def below(world: World, name: str) -> list[bytes]:
    return [content for key, content in world.lake.objects.items() if key.startswith(table(name).prefix)]


def columns_of(parquet: bytes) -> dict[str, str]:
    schema = pq.read_schema(io.BytesIO(parquet))
    return {field.name: str(field.type) for field in schema}


def test_the_sample_has_every_type():
    assert {column.type for column in spec().columns.values()} == set(catalog.SQL_TYPES)


@pytest.mark.parametrize("name", ["rows", "rejects"])
def test_a_table_and_its_files_agree_in_every_column(world, name):
    declared = {column.name: column.type for column in table(name).columns}
    files = below(world, name)
    assert files
    for content in files:
        assert {column: IN_PARQUET[kind] for column, kind in columns_of(content).items() if column != KEY_HASH} == declared


def test_the_hash_is_in_the_files_and_unsigned_and_no_column(world):
    assert {columns_of(content)[KEY_HASH] for content in below(world, "rows")} == {"uint64"}
    assert KEY_HASH not in {column.name for column in table("rows").columns}


@pytest.mark.parametrize("name", ["uploads", "datasets"])
def test_a_line_of_facts_has_the_columns_of_its_table_with_values_of_their_types(world, name):
    kinds = {"string": str, "bigint": int}
    lines = [json.loads(line) for content in below(world, name) for line in content.decode().splitlines()]
    assert lines
    for line in lines:
        assert {column: type(value) for column, value in line.items()} == {column.name: kinds[column.type] for column in table(name).columns}


def test_facts_name_what_the_ledger_names(world):
    upload, dataset = world.ledger.uploads("boats")[0], world.ledger.run("boats", 1).dataset
    fact = json.loads(world.lake.get(keys.upload_fact("boats", upload.id)))
    assert (fact["part"], fact["state"], fact["rows"], fact["kept"], fact["rejected"]) == (upload.part, "prepared", 41, 40, 1)
    part = json.loads(world.lake.get(keys.dataset_fact("boats", "0001")))
    assert part == {"dataset": dataset, "run": "0001", "position": 0, "part": upload.part, "rows": 40}


def test_a_refused_upload_is_a_fact_without_a_part():
    world = World()
    world.upload("boats/data/1.csv", "")
    world.claim()
    for _ in range(2):  # the second time as after a crash between the ledger and the lake
        world.prepare()
        fact = json.loads(world.lake.objects.pop(keys.upload_fact("boats", world.ledger.uploads("boats")[0].id)))
        assert (fact["state"], fact["part"], fact["rows"], fact["received_at"]) == ("refused", None, 0, NOW)


def test_a_run_that_lost_its_epoch_leaves_no_fact():
    world = World()
    world.upload("boats/data/1.csv", rows())
    world.claim()
    world.finish(outcome="failed")
    world.ledger.acquire("boats", 2, "arn:other")
    with pytest.raises(Superseded):
        world.prepare()
    assert not [key for key in world.lake.objects if "/catalog/" in key]


def test_no_two_models_share_a_table_or_a_folder():
    names = ("a-b", "a-b-rows", "abc", "query-results")
    made = [t for name in names for t in catalog.tables(spec(SPEC.replace('"boats"', f'"{name}"')))]
    assert len({t.name for t in made}) == len({t.prefix for t in made}) == 4 * len(names)
    assert not [t for t in made if t.prefix.startswith(keys.QUERY_RESULTS) or "-" in t.name]


def test_names_are_lower_case_and_an_ignored_column_is_text():
    text = SPEC.replace("crew =", "Crew =").replace("note = { role", 'tons = { role = "ignore", type = "integer" }\nnote = { role')
    found = {column.name: column.type for column in table("rows", text).columns}
    assert (found["crew"], found["tons"]) == ("bigint", "string")
    assert all(found[name] == "string" for name, column in spec(text).columns.items() if column.type in TEXT)


def test_columns_that_differ_in_capitals_only_are_refused():
    with pytest.raises(SpecError, match=r"columns\.Crew"):
        catalog.tables(spec(SPEC.replace("note = {", 'Crew = { type = "integer" }\nnote = {')))
