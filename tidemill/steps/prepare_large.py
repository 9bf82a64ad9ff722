"""prepare for large uploads: what the Glue job does. It writes parts and says how each upload ended; the ledger is not its."""

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from tidemill import keys
from tidemill.erasure import Suppressed
from tidemill.errors import ObjectForbidden, ObjectMissing, UploadRefused
from tidemill.events import PrepareRequest
from tidemill.ports import Store
from tidemill.prepare import spark as sparks
from tidemill.prepare.part import PreparedPart
from tidemill.records import Suppression
from tidemill.spec import ModelSpec
from tidemill.steps.pinned import pinned_spec
from tidemill.steps.prepare import write_part

Landing = Callable[[str, str | None], sparks.Upload]
"""An object of the landing bucket by key and version."""


def prepare_large_bin(
    request: PrepareRequest, *, spark: SparkSession, suppressions: list[Suppression], landing: Landing, lake: Store, ship: sparks.Ship
) -> dict[str, Any]:
    """How each upload of the bin ended, by id. Doing it again makes the same parts by their ids."""
    run = keys.run_id(request.epoch)
    work = json.loads(lake.get(keys.work_list(request.model, run)))
    spec = pinned_spec(request.model, work["spec"], lake)
    prepare = partial(sparks.prepare_large, spark, suppressed=Suppressed(suppressions, spec.salt), ship=ship)
    ended = {}
    for upload in work["bins"][request.bin]:
        ended[upload] = _prepare(work["large"][upload], spec, prepare, landing, lake)
        lake.put(keys.large_result(request.model, run, upload), json.dumps(ended[upload]).encode())
    return ended


def _prepare(upload: dict[str, str], spec: ModelSpec, prepare: Callable[..., PreparedPart], landing: Landing, lake: Store) -> dict[str, str | None]:
    version = None if upload["version_id"] == "null" else upload["version_id"]
    try:
        with tempfile.TemporaryDirectory() as work:
            part = prepare(landing(upload["key"], version), spec, Path(work), received_at=upload["received_at"])
            return {"part": write_part(part, spec, lake).id, "reason": None}
    except (UploadRefused, ObjectMissing, ObjectForbidden) as error:
        return {"part": None, "reason": str(error)}
