"""assemble, exclude and pack over ports in memory: a run reads what is new, a person's exclusion holds, packs change no row."""

import json
from pathlib import Path

import pytest

from tests.fakes import MemoryStore
from tests.samples import by_key, folder, rows
from tests.world import NOW, T0, World
from tidemill import keys, layout
from tidemill.dataset import SPLITS, Dataset
from tidemill.errors import RecordMissing
from tidemill.events import PackRequest
from tidemill.layout import Layout
from tidemill.load import load_dataset
from tidemill.steps.exclude import exclude, include
from tidemill.steps.pack import pack_dataset


class CountingStore(MemoryStore):
    """Remembers what was read."""

    def __init__(self, objects) -> None:
        super().__init__(objects)
        self.read: list[str] = []

    def get(self, key, version_id=None):
        self.read.append(key)
        return super().get(key, version_id)


def dataset_of(world: World, epoch: int) -> Dataset:
    return Dataset.model_validate_json(world.lake.get(keys.dataset_manifest("boats", world.ledger.run("boats", epoch).dataset)))


def learned(world: World, epoch: int, data: str, key: str | None = None, **more):
    world.upload(f"boats/data/{key or epoch}.csv", data, at_ms=T0 + epoch * 60_000, **more)
    world.claim(epoch)
    world.prepare(epoch)
    assembled = world.assemble(epoch)
    world.gate(epoch=epoch)
    world.finish(epoch)
    return assembled


def on_disk(world: World, root: Path) -> Path:
    for key, data in world.lake.objects.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root / "boats"


def test_a_run_reads_the_records_of_new_parts_only(world):
    for epoch in range(1, 5):
        learned(world, epoch, rows(10 + epoch))
    world.lake = CountingStore(world.lake.objects)
    learned(world, 5, rows(20))
    assert len(dataset_of(world, 5).parts) == 5
    assert len({key for key in world.lake.read if key.endswith("part.json")}) == 1


def test_a_lost_index_is_made_again(world):
    learned(world, 1, rows(11))
    del world.lake.objects[keys.part_index("boats")]
    learned(world, 2, rows(12))
    assert len(dataset_of(world, 2).parts) == 2
    assert keys.part_index("boats") in world.lake.objects


def test_an_excluded_upload_is_out_of_later_datasets_and_on_record(world):
    learned(world, 1, rows(11))
    learned(world, 2, rows(12))
    bad = world.ledger.uploads("boats")[1]
    assert exclude("boats", "2.csv", "sensor was wet", "anna", NOW, ledger=world.ledger) == (bad, True)
    assert exclude("boats", "boats/data/2.csv", "again", "anna", NOW, ledger=world.ledger) == (bad, False)
    learned(world, 3, rows(13))
    dataset = dataset_of(world, 3)
    assert bad.part not in {part.id for part in dataset.parts}
    assert dataset.excluded == (bad.part,)
    entry = next(entry for entry in world.ledger.decisions("boats") if entry.decision == "exclude")
    assert (entry.subject, entry.actor, entry.reasons) == ("boats/data/2.csv", "anna", ("sensor was wet",))


def test_excluded_content_does_not_come_back_under_another_key(world):
    learned(world, 1, rows(11))
    learned(world, 2, rows(12))
    exclude("boats", "2.csv", "", "anna", NOW, ledger=world.ledger)
    learned(world, 3, rows(12), "copy-of-2")
    learned(world, 4, rows(14))
    assert len(dataset_of(world, 4).parts) == 2


def test_a_corrected_file_under_an_excluded_key_comes_in_and_the_earlier_stays_out(world):
    learned(world, 1, rows(11))
    learned(world, 2, rows(12))
    exclude("boats", "2.csv", "", "anna", NOW, ledger=world.ledger)
    learned(world, 3, rows(13), "2", version="v2")
    uploads = world.ledger.uploads("boats")
    assert [part.id for part in dataset_of(world, 3).parts] == [uploads[0].part, uploads[2].part]


def test_include_takes_an_exclusion_back(world):
    learned(world, 1, rows(11))
    learned(world, 2, rows(12))
    exclude("boats", "2.csv", "", "anna", NOW, ledger=world.ledger)
    assert [each.key for each in include("boats", "2.csv", "dried", "anna", NOW, ledger=world.ledger)] == ["boats/data/2.csv"]
    learned(world, 3, rows(13))
    assert len(dataset_of(world, 3).parts) == 3
    assert [entry.decision for entry in world.ledger.decisions("boats") if entry.kind == "upload"] == ["exclude", "include"]
    with pytest.raises(RecordMissing, match=r"no excluded upload '2\.csv'"):
        include("boats", "2.csv", "", "anna", NOW, ledger=world.ledger)
    with pytest.raises(RecordMissing, match=r"no upload 'x\.csv': give its key"):
        exclude("boats", "x.csv", "", "anna", NOW, ledger=world.ledger)


def test_excluding_every_upload_stops_the_run_with_that_reason(world):
    world.upload("boats/data/1.csv", rows())
    world.claim()
    world.prepare()
    exclude("boats", "1.csv", "", "anna", NOW, ledger=world.ledger)
    assert world.assemble() == {"stop": True, "outcome": "refused", "reasons": ["every part is excluded: nothing to learn from"]}


def test_a_window_of_days_holds_with_a_split_by_key(world, tmp_path):
    """Which days a part's rows are of comes from prepare: its files are not named by day."""
    world.models.folders["s3://assets/boats.zip"] = folder(by_key().replace("min_rows = 1", 'min_rows = 1\nwindow = "7d"'))
    learned(world, 1, rows(3, 9))
    learned(world, 2, rows(20, 9))
    dataset = dataset_of(world, 2)
    assert [part.days for part in dataset.parts] == [("2024-05-01", "2024-05-20")]
    seen = {day.day for split in SPLITS for day in load_dataset(on_disk(world, tmp_path), dataset, split)["day"]}
    assert seen == set(range(14, 21))


def test_the_state_machine_carries_no_file_list(world):
    assembled = learned(world, 1, rows(28))
    assert len(json.dumps(assembled)) < 2000
    assert assembled["pack"] is False


def pack(world: World, epoch: int = 1):
    request = PackRequest(model="boats", epoch=epoch, dataset=world.ledger.run("boats", epoch).dataset)
    return pack_dataset(request, lake=world.lake)


def test_packs_are_written_once_and_the_channels_name_them(world, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "PACK_ABOVE", 2)
    monkeypatch.setattr(layout, "PACK_MEAN", 3)
    world.models.folders["s3://assets/boats.zip"] = folder()
    assert learned(world, 1, rows(28))["pack"] is True
    dataset = dataset_of(world, 1)
    raw = {split: load_dataset(on_disk(world, tmp_path / "raw"), dataset, split) for split in SPLITS}
    first = pack(world)
    objects = dict(world.lake.objects)
    assert first["packs"] == first["new"] > 1
    assert pack(world) == first | {"new": 0}
    assert world.lake.objects == objects
    where = Layout.model_validate_json(world.lake.get(keys.dataset_layout("boats", dataset.id)))
    for split in SPLITS:
        channel = json.loads(world.lake.get(keys.channel_manifest("boats", dataset.id, split)))
        assert channel == [{"prefix": "s3://lake/boats/"}, *where.paths(split)]
        alone = tmp_path / split
        for path in channel[1:]:
            (alone / path).parent.mkdir(parents=True, exist_ok=True)
            (alone / path).write_bytes(world.lake.get(f"boats/{path}"))
        assert load_dataset(alone, dataset, split, layout=where).equals(raw[split])


def test_the_trainers_channels_list_no_file_of_the_holdout(world, monkeypatch):
    monkeypatch.setattr(layout, "PACK_ABOVE", 2)
    monkeypatch.setattr(layout, "PACK_MEAN", 3)
    learned(world, 1, rows(28))
    pack(world)
    dataset = world.ledger.run("boats", 1).dataset
    train, validation, test = (set(json.loads(world.lake.get(keys.channel_manifest("boats", dataset, split)))[1:]) for split in SPLITS)
    assert not (train | validation) & test
    assert all("/test/" not in path for path in train | validation)
