"""pack: the many small files of a dataset become few, and its channels name those instead. The dataset stays as it is."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tidemill import keys
from tidemill.dataset import Dataset
from tidemill.events import PackRequest
from tidemill.layout import Stretch, packed, packs
from tidemill.load import join_files
from tidemill.ports import Store
from tidemill.steps.assemble import READERS, write_layout


def pack_dataset(request: PackRequest, *, lake: Store) -> dict[str, Any]:
    """Write the packs that are not there yet, then the layout. A pack is named by its contents: doing it again changes nothing."""
    dataset = Dataset.model_validate_json(lake.get(keys.dataset_manifest(request.model, request.dataset)))
    wanted = packs(dataset)
    with ThreadPoolExecutor(READERS) as pool:
        there = pool.map(lambda pack: lake.exists(keys.pack_file(request.model, pack.split, pack.id)), wanted)
        missing = [pack for pack, known in zip(wanted, there, strict=True) if not known]
        for pack in missing:
            _write(pack, request.model, lake, pool)
    write_layout(dataset, packed(dataset), lake)
    return {"packs": len(wanted), "new": len(missing), "files": sum(len(pack.files) for pack in wanted)}


def _write(pack: Stretch, model: str, lake: Store, pool: ThreadPoolExecutor) -> None:
    files = pool.map(lambda each: lake.get(keys.part_file(model, each[0], each[1].name)), pack.files)
    lake.put(keys.pack_file(model, pack.split, pack.id), join_files(files))
