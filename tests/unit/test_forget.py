"""Erasing a key: nothing of it stays in rows, rejects, landing or query results, in whatever state an earlier attempt was left."""

import copy
import functools
import gzip
import io
import itertools
import json
from dataclasses import dataclass, field

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import MemoryStore
from tests.samples import HEADER, SPEC, folder, rows, spec
from tests.world import NOW, World
from tidemill import keys
from tidemill.dataset import Dataset, DatasetPart, PartRecord
from tidemill.erasure import RULE, Erasure, Mentions, Suppressed, suppression, typed_keys
from tidemill.errors import ErasureRefused, ObjectMissing
from tidemill.prepare.part import prepare_upload
from tidemill.prepare.split import KEY_HASH, key_hashes
from tidemill.steps.forget import ForgetRequest, _packs, forget

LATER = "2024-07-01T00:00:00.000Z"
VICTIM, OTHER = "b3-1", "b4-0"
WRONG = "2024-05-03T00:00:00,true,kite,north,5,1,"
BROKEN = f"{VICTIM},{WRONG}\nx9,{WRONG}about {VICTIM}\ny9,{WRONG}\n"


@dataclass
class VersionedStore(MemoryStore):
    """A bucket that keeps versions: `v1`, `v2`, ... of each key; a deletion names one."""

    history: dict[tuple[str, str], bytes] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)

    def put(self, key: str, data: bytes) -> None:
        self.put_version(key, f"v{self.made.get(key, 0) + 1}", data)

    def put_version(self, key: str, version_id: str, data: bytes) -> None:
        self.made[key] = self.made.get(key, 0) + 1
        self.history[key, version_id] = self.objects[key] = data

    def get(self, key: str, version_id: str | None = None) -> bytes:
        if version_id is None:
            return super().get(key)
        if (key, version_id) not in self.history:
            raise ObjectMissing(f"{key} {version_id}")
        return self.history[key, version_id]

    def list_versions(self, prefix: str) -> list[tuple[str, str]]:
        return sorted(at for at in self.history if at[0].startswith(prefix))

    def delete_versions(self, versions: list[tuple[str, str]]) -> None:
        for at in versions:
            self.history.pop(at, None)
            left = [version for version in self.history if version[0] == at[0]]
            self.objects.pop(at[0], None)
            if left:
                self.objects[at[0]] = self.history[max(left, key=lambda each: int(each[1][1:]))]


class Crash(Exception):
    pass


class Crashing:
    """Ports that fail at the `at`-th of all their calls, once it has taken effect: to the caller as if before the next one."""

    def __init__(self, at: int) -> None:
        self.calls, self._at = itertools.count(), at

    def of(self, port):
        outer = self

        class Proxy:
            def __getattr__(self, name):
                real = getattr(port, name)

                def call(*arguments, **named):
                    now = next(outer.calls)
                    answer = real(*arguments, **named)
                    if now == outer._at:
                        raise Crash(name)
                    return answer

                return call

        return Proxy()


class Harbour(World):
    """The world with buckets that keep versions, and the erasure."""

    def __init__(self) -> None:
        super().__init__()
        self.lake, self.landing = VersionedStore(), VersionedStore()
        self.epoch = 0

    def learn(self, key: str, data: str) -> None:
        """One upload and its run, to the end."""
        self.epoch += 1
        version = f"v{self.landing.made.get(key, 0) + 1}"
        self.upload(key, data, version=version)
        self.claim(self.epoch)
        self.prepare(self.epoch)
        if self.assemble(self.epoch)["stop"]:
            self.finish(self.epoch, "refused")
            return
        self.gate(epoch=self.epoch)
        self.register(self.epoch)
        self.finish(self.epoch)

    def forget(self, *victims: str, crash: Crashing | None = None) -> Erasure:
        request = ForgetRequest("boats", victims or (VICTIM,), "arn:aws:iam::123456789012:user/officer", LATER)
        wrapped = crash.of if crash else lambda port: port
        return forget(request, ledger=wrapped(self.ledger), models=wrapped(self.models), landing=wrapped(self.landing), lake=wrapped(self.lake))

    def rows(self) -> pl.DataFrame:
        """Every row of every version of every file in the lake."""
        files = [data for (key, _), data in self.lake.history.items() if key.startswith(keys.rows_prefix("boats"))]
        return pl.concat([pl.read_parquet(data) for data in files])

    def state(self) -> dict:
        """All there is, but for how often an object was written and what an interrupted erasure logged when."""
        return {
            "lake": {key: self.lake.objects[key] for key in self.lake.objects},
            "landing": dict(self.landing.history),
            "uploads": self.ledger.uploads("boats"),
            "suppressions": self.ledger.suppressions("boats"),
            "datasets": self.ledger.unreproducible("boats"),
            "decisions": self.ledger.decisions("boats"),
        }


def harbour() -> Harbour:
    return copy.deepcopy(_harbour())


@functools.cache
def _harbour() -> Harbour:
    """Three uploads in three runs: the victim is in the first (kept, and rejected twice) and, corrected, in the second."""
    world = Harbour()
    world.learn("boats/data/1.csv", rows(5, 2) + BROKEN)
    world.learn("boats/data/2.csv", f"{rows(1, 2)}{VICTIM},2024-05-20T00:00:00,true,sail,north,9,2,\n")
    world.learn("boats/data/3.csv", rows(1, 2))
    world.lake.put("query_results/a.csv", f"id\n{VICTIM}\n".encode())
    return world


def everything(world: Harbour, *, but: tuple[str, ...] = ()) -> list[str]:
    """Objects, in any version, in which the victim can be read; Parquet is looked into."""
    found = []
    for (key, version), data in (*world.lake.history.items(), *world.landing.history.items()):
        text = pl.read_parquet(io.BytesIO(data)).write_json() if key.endswith(".parquet") else data.decode()
        if VICTIM in text:
            found.append(f"{key} {version}")
    return [name for name in found if name not in but]


def test_the_victim_is_everywhere_before_and_nowhere_after():
    world = harbour()
    assert len(everything(world)) >= 6
    world.forget()
    assert everything(world) == []


def test_nothing_but_the_victim_is_lost():
    world = harbour()
    parts = {upload.key: upload.part for upload in world.ledger.uploads("boats")}
    before = world.rows()
    erasure = world.forget()
    after = world.rows()
    assert sorted(after["id"]) == sorted(key for key in before["id"] if key != VICTIM)
    assert {part.id for part in erasure.parts} == {parts["boats/data/1.csv"], parts["boats/data/2.csv"]}
    now = {upload.key: upload.part for upload in world.ledger.uploads("boats")}
    assert now["boats/data/3.csv"] == parts["boats/data/3.csv"]
    assert sorted(world.landing.objects) == ["boats/data/3.csv"]
    rejected = pl.read_parquet(world.lake.get(keys.part_rejects("boats", now["boats/data/1.csv"])))
    assert rejected["row"].str.slice(0, 2).to_list() == ["y9"]


def test_the_copy_is_a_whole_part_that_says_where_it_comes_from():
    world = harbour()
    old = next(u for u in world.ledger.uploads("boats") if u.key == "boats/data/1.csv").part
    world.forget()
    upload = next(u for u in world.ledger.uploads("boats") if u.key == "boats/data/1.csv")
    record = PartRecord.model_validate_json(world.lake.get(keys.part_record("boats", upload.part)))
    assert (record.id, record.redacted_from) == (upload.part, old)
    assert (record.rows, record.kept, record.labelled, record.rejected) == (10, 9, 9, 1)
    assert record.rejects_by_rule == {"kind: allowed": 1}
    assert sum(file.rows for file in record.files) == 9
    for file in record.files:
        data = world.lake.get(keys.part_file("boats", record.id, file.name))
        assert len(data) == file.size_bytes
        assert len(pl.read_parquet(data)) == file.rows
    assert world.lake.exists(keys.part_profile("boats", record.id))
    fact = json.loads(world.lake.get(keys.upload_fact("boats", upload.id)))
    assert (fact["part"], fact["kept"], fact["rejected"]) == (record.id, 9, 1)


def test_what_was_learned_from_the_victim_is_named_and_on_the_record_without_the_key():
    world = harbour()
    erasure = world.forget()
    learned = {run.dataset for run in world.ledger.runs("boats")}
    assert len(learned) == 3
    assert set(erasure.datasets) == learned == {mark.dataset for mark in world.ledger.unreproducible("boats")}
    assert erasure.packages == ("boats/1", "boats/2", "boats/3")
    entry = world.ledger.decisions("boats")[-1]
    assert (entry.kind, entry.decision, entry.inputs["erasure"]) == ("erasure", "forget", erasure.id)
    assert "models trained on them: boats/1, boats/2, boats/3" in entry.reasons
    key_hash = key_hashes(pl.Series([VICTIM]), spec().salt)[0]
    written = erasure.model_dump_json() + "".join(e.model_dump_json() for e in (entry, *world.ledger.suppressions("boats")))
    assert VICTIM not in written
    assert str(key_hash) not in written
    assert f"{key_hash:x}" not in written


def test_a_dataset_without_the_victim_stays_reproducible():
    world = Harbour()
    world.learn("boats/data/3.csv", rows(2) + rows(12).partition("\n")[2])
    world.learn("boats/data/1.csv", f"{HEADER}\nlate,2024-05-03T00:00:00,true,sail,north,5,1,\n")
    erasure = world.forget("late")
    assert erasure.datasets == (world.ledger.run("boats", 2).dataset,)


def test_the_next_run_learns_from_the_copies():
    world = harbour()
    world.forget()
    world.learn("boats/data/4.csv", rows(3).replace("b", "c"))
    dataset = json.loads(world.lake.get(keys.dataset_manifest("boats", world.ledger.run("boats", 4).dataset)))
    used = [part["id"] for part in dataset["parts"]]
    assert {u.part for u in world.ledger.uploads("boats")} == set(used)
    for part in used:
        assert world.lake.exists(keys.part_record("boats", part))


def test_a_later_version_of_a_file_without_the_victim_stays():
    world = Harbour()
    world.learn("boats/data/1.csv", rows())
    world.learn("boats/data/1.csv", "\n".join(line for line in rows().splitlines() if not line.startswith(f"{VICTIM},")) + "\n")
    assert world.forget().landing == (("boats/data/1.csv", "v1"),)
    assert list(world.landing.history) == [("boats/data/1.csv", "v2")]
    assert everything(world) == []


def test_a_part_that_no_upload_stands_for_any_more_goes_too():
    world = Harbour()
    world.learn("boats/data/1.csv", rows())
    old = world.ledger.uploads("boats")[0]
    world.lake.put(keys.part_file("boats", "f" * 32, "2024-05-03"), world.lake.get(keys.part_file("boats", old.part, "2024-05-03")))
    world.forget()
    assert everything(world) == []
    assert not world.lake.list_versions(f"{keys.rows_prefix('boats')}{'f' * 32}")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("note = {", 'sails = { type = "integer", nullable = true }\nnote = {'),
        ("crew = {", "hands = {"),
        ('crew = { type = "integer"', 'crew = { type = "float"'),
        ('sank = { role = "label", type = "boolean", nullable = true }', 'lost = { role = "label", type = "boolean", nullable = true }'),
    ],
)
def test_parts_of_an_older_spec_are_redacted_too(old, new):
    world = harbour()
    world.models.folders = {uri: folder(SPEC.replace(old, new)) for uri in world.models.folders}
    assert world.forget().done
    assert everything(world) == []
    upload = next(u for u in world.ledger.uploads("boats") if u.key == "boats/data/1.csv")
    assert PartRecord.model_validate_json(world.lake.get(keys.part_record("boats", upload.part))).kept == 9


def test_a_part_of_a_spec_with_another_key_is_known_by_its_hash():
    world = harbour()
    text = SPEC.replace(
        'id = { role = "key", type = "string" }', 'id = { role = "ignore", type = "string" }\nnumber = { role = "key", type = "string" }'
    )
    world.models.folders = {uri: folder(text) for uri in world.models.folders}
    world.forget()
    assert VICTIM not in world.rows()["id"].to_list()


def test_files_that_were_refused_or_never_looked_at_are_searched_as_text():
    world = Harbour()
    world.learn("boats/data/bad.csv", f"id,nothing\n{VICTIM},1\n")
    world.learn("boats/data/good.csv", rows(2))
    world.landing.put("boats/labels/a.csv", f"id,sank\n{VICTIM},true\n".encode())
    world.landing.put("boats/labels/b.csv.gz", gzip.compress(f"id,sank\n{VICTIM},true\n".encode()))
    world.landing.put("boats/data/c.jsonl", json.dumps({"id": VICTIM}).encode())
    buffer = io.BytesIO()
    pl.DataFrame({"who": [VICTIM]}).write_parquet(buffer)
    world.landing.put("boats/data/d.parquet", buffer.getvalue())
    world.landing.put("boats/data/e.csv.gz", b"not gzip")
    world.landing.put("boats/data/f.csv", b"id\nb3-11\n")
    erasure = world.forget()
    assert erasure.unsearched == ("boats/data/e.csv.gz",)
    assert sorted(world.landing.objects) == ["boats/data/e.csv.gz", "boats/data/f.csv", "boats/data/good.csv"]


def test_it_is_refused_while_a_run_is_in_progress_or_uploads_wait():
    world = harbour()
    world.upload("boats/data/9.csv", rows(2), version="v1")
    with pytest.raises(ErasureRefused, match=r"1 uploads wait for a run, the first is boats/data/9\.csv"):
        world.forget()
    world.claim(4)
    with pytest.raises(ErasureRefused, match="run 0004 is in progress"):
        world.forget()
    assert world.ledger.suppressions("boats") == []


def test_a_run_that_begins_meanwhile_stops_it_before_anything_is_deleted():
    world = harbour()
    real = world.lake.put

    def put(key: str, data: bytes) -> None:
        real(key, data)
        if "/erasures/" in key and world.ledger.lease("boats").epoch == 3:
            world.ledger.acquire("boats", 4, world.workflow.execution("boats-0004"))

    world.lake.put = put
    landing = dict(world.landing.history)
    with pytest.raises(ErasureRefused, match="run 0004 is in progress"):
        world.forget()
    assert world.landing.history == landing
    world.ledger.release_lease("boats", 4, world.workflow.execution("boats-0004"))
    assert world.forget().done
    assert everything(world) == []


def calls() -> int:
    counter = Crashing(at=-1)
    harbour().forget(crash=counter)
    return next(counter.calls)


@pytest.fixture(scope="module")
def whole() -> dict:
    """Where an erasure that was never interrupted ends."""
    world = harbour()
    world.forget()
    return world.state()


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.long)])
def test_a_crash_at_any_call_is_made_good_by_running_it_again(whole, stride):
    number = calls()
    assert number > 50
    for at in range(0, number, stride):
        world = harbour()
        with pytest.raises(Crash):
            world.forget(crash=Crashing(at))
        assert world.forget().done
        assert world.state() == whole, f"call {at}"
        assert everything(world) == [], f"call {at}"


def test_a_later_upload_does_not_bring_the_key_back():
    """Nothing of its row stays but the line it was on, also where the row breaks a rule; running it again clears landing too."""
    world = harbour()
    world.forget()
    again = f"{VICTIM},2024-05-21T00:00:00,true,sail,north,9,2,\n{VICTIM},{WRONG}\nnew,2024-05-21T00:00:00,true,sail,north,9,2,\n"
    world.learn("boats/data/4.csv", f"{rows(2, 2)}{again}")
    assert everything(world) == ["boats/data/4.csv v1"]
    upload = next(u for u in world.ledger.uploads("boats") if u.key == "boats/data/4.csv")
    rejects = pl.read_parquet(world.lake.get(keys.part_rejects("boats", upload.part)))
    assert rejects.rows() == [(6, "id", RULE, None, None), (7, "id", RULE, None, None)]
    assert PartRecord.model_validate_json(world.lake.get(keys.part_record("boats", upload.part))).kept == 5
    assert world.forget().landing == (("boats/data/1.csv", "v1"), ("boats/data/2.csv", "v1"), ("boats/data/4.csv", "v1"))
    assert everything(world) == []


def test_a_part_made_under_the_list_has_an_id_of_its_own_and_one_that_it_did_not_touch_keeps_its():
    world = harbour()
    parts = {upload.key: upload.part for upload in world.ledger.uploads("boats")}
    contents = {key: world.landing.objects[key].decode() for key in parts}
    world.forget()
    for key in parts:
        world.learn(f"{key}.again.csv", contents[key])
    again = {upload.key.removesuffix(".again.csv"): upload.part for upload in world.ledger.uploads("boats") if "again" in upload.key}
    assert [key for key in parts if again[key] == parts[key]] == ["boats/data/3.csv"]


@pytest.mark.parametrize("kind", ["string", "integer"])
@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_rows_are_kept_out_whatever_the_key_is_written_like_and_are_no_fault_of_the_file(tmp_path, kind, block_bytes):
    model = spec(SPEC.replace('id = { role = "key", type = "string" }', f'id = {{ role = "key", type = "{kind}" }}'))
    data = HEADER + "\n" + "".join(f'"{name}",{WRONG.replace("kite", "sail")}\n' for name in ("7", "70", "8", "7", "7", "7")) + f",{WRONG}\n"
    hashes = key_hashes(typed_keys(["7"], model), model.salt)
    kept_out = Suppressed([suppression(hashes[0], model, "e", NOW)], model.salt)
    part = prepare_upload(io.BytesIO(data.encode()), "a.csv", model, tmp_path, block_bytes=block_bytes, suppressed=kept_out)
    found = pl.read_parquet(part.rejects)
    assert found.filter(pl.col("rule") == RULE).rows() == [(line, "id", RULE, None, None) for line in (2, 5, 6, 7)]
    assert sorted(pl.read_parquet(list(part.files.values()))["id"].cast(pl.String)) == ["70", "8"]
    assert found.filter(pl.col("rule") != RULE)["line"].unique().to_list() == [8]


def test_packs_that_hold_a_part_that_goes_are_deleted_and_no_others():
    world = harbour()
    dataset = Dataset.model_validate_json(world.lake.get(keys.dataset_manifest("boats", world.ledger.run("boats", 3).dataset)))
    part = dataset.parts[0]
    many = tuple(
        part.files[0].model_copy(update={"name": f"1999-{i // 28 + 1:02d}-{i % 28 + 1:02d}", "sha256": f"{i:08x}".ljust(64, "0")})
        for i in range(1, 99)
    )
    with_packs = dataset.model_copy(update={"parts": (DatasetPart(id="a" * 32, files=many, days=None), part)})
    cuts = with_packs.split.cuts.model_copy(update={"train": ("1999-01-01", with_packs.split.cuts.train[1])})
    with_packs = with_packs.model_copy(update={"split": with_packs.split.model_copy(update={"cuts": cuts})})
    holding = _packs(with_packs, {"a" * 32})
    assert len(holding) > 0
    assert _packs(with_packs, {part.id}) == []


def test_running_it_again_changes_nothing_and_logs_nothing(whole):
    world = harbour()
    first, again = world.forget(), world.forget()
    assert first == again
    assert world.state() == whole


@pytest.mark.parametrize("at", range(15, 60, 9))
def test_an_erasure_of_other_keys_finishes_one_that_was_interrupted(at):
    world = harbour()
    with pytest.raises(Crash):
        world.forget(crash=Crashing(at))
    plans = [Erasure.model_validate_json(world.lake.get(key)) for key, _ in world.lake.list_versions(keys.erasures_prefix("boats"))]
    assert world.forget(OTHER).done
    assert not world.rows()["id"].is_in([VICTIM, OTHER]).any()
    if plans:  # what it had found before it was interrupted needs the key no more
        assert everything(world) == []
    world.forget()
    assert everything(world) == []


def test_keys_that_can_be_none_are_refused_and_not_repeated():
    whole = spec(SPEC.replace('id = { role = "key", type = "string" }', 'id = { role = "key", type = "integer" }'))
    with pytest.raises(ErasureRefused, match="the key column id of boats holds integers") as error:
        typed_keys(["12", "secret"], whole)
    assert "secret" not in str(error.value)
    for none in ([], [""]):
        with pytest.raises(ErasureRefused, match="no key to erase"):
            typed_keys(none, whole)
    assert typed_keys(["007", "7", "8"], whole).to_list() == [7, 8]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=40, unique=True), st.data())
def test_the_suppression_list_finds_its_keys_and_no_others(texts, data):
    erased = data.draw(st.lists(st.sampled_from(texts), unique=True))
    hashes = key_hashes(pl.Series(texts), "salt")
    listed = [
        suppression(key_hash, spec(SPEC.replace("split = {", 'split = { salt = "salt",')), "e", NOW)
        for key_hash in hashes.filter(pl.Series(texts).is_in(pl.Series(erased, dtype=pl.String).implode()))
    ]
    found = Suppressed(listed, "salt").mask(hashes.rename(KEY_HASH))
    assert [text for text, hit in zip(texts, found, strict=True) if hit] == [text for text in texts if text in erased]


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=10), st.sampled_from([",", '"', "\n", " ", "|", ""]))
def test_a_key_is_found_in_csv_and_json_text_however_it_is_quoted(key, separator):
    quoted = '"' + key.replace('"', '""') + '"'
    mentions = Mentions([key])
    for text in (f"a{separator or ','}{key}{separator},b", f"1,{quoted},2", json.dumps({"id": key}), json.dumps({"id": key}, ensure_ascii=False)):
        assert mentions.in_text(text), text
        assert mentions.mask(pl.Series([text, None])).to_list() == [True, False]
