"""reproduce: a run's job once more from the record alone, and what came of it beside what was recorded."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from tidemill import keys
from tidemill.dataset import SPLITS, Dataset
from tidemill.errors import NotReproducible
from tidemill.evaluate.record import Comparison, Evaluation
from tidemill.layout import unpacked
from tidemill.metric import Metric
from tidemill.ports import Ledger, Store
from tidemill.records import Run
from tidemill.spec import ModelSpec
from tidemill.steps import trace
from tidemill.steps.checkout import fetch_rows
from tidemill.steps.pinned import pinned_spec
from tidemill.steps.report import judged

CLOSE = 1e-9
"""Relative. Other machines add up in another order; a difference that shows is another model."""


@dataclass(frozen=True)
class Reproduced:
    """metrics: recorded and found again. versions: what was installed otherwise, recorded and here."""

    metrics: dict[Metric, tuple[float, float | None]]
    same_model: bool
    versions: dict[str, tuple[str | None, str | None]]

    @property
    def same_metrics(self) -> bool:
        return all(again is not None and math.isclose(was, again, rel_tol=CLOSE, abs_tol=CLOSE) for was, again in self.metrics.values())


def lay_out(run: Run, root: Path, *, ledger: Ledger, lake: Store) -> Evaluation:
    """The tree that training and evaluation find below /opt/ml, made of the record; what was found then.

    Raises NotReproducible where an erasure took rows, CheckoutRefused where an object is not the recorded one, RecordMissing for a run
    that judged no model.
    """
    mark = trace.erased(run, ledger=ledger)
    if mark is not None:
        raise NotReproducible(f"run {keys.run_id(run.epoch)} of {run.model}: erasure {mark.erasure} took rows out of its dataset on {mark.time[:10]}")
    then = judged(run, lake=lake).evaluation
    dataset = trace.dataset_of(run, lake=lake)
    spec = pinned_spec(run.model, run.code_hash, lake)
    _settings(run, then, spec, root)
    _code(run, root / "input/data/code", lake)
    for split, place in zip(SPLITS, ("input/data/train", "input/data/validation", "processing/input/test"), strict=True):
        fetch_rows(dataset, split, root / place, lake=lake)
    for place in ("input/data/dataset", "processing/input/dataset"):
        _manifest(dataset, root / place)
    for which, former in (("champion", then.champion), ("best", then.best)):
        if former is not None:
            _former(which, former, run.model, root / "processing/input", ledger, lake)
    _instances(spec.train.instances, root)
    return then


def beside(then: Evaluation, now: Evaluation) -> Reproduced:
    found = now.challenger.metrics
    metrics = {metric: (interval.value, found[metric].value if metric in found else None) for metric, interval in then.challenger.metrics.items()}
    named = then.versions | now.versions
    versions = {name: (then.versions.get(name), now.versions.get(name)) for name in named if then.versions.get(name) != now.versions.get(name)}
    return Reproduced(metrics, then.model_sha256 == now.model_sha256, versions)


def _settings(run: Run, then: Evaluation, spec: ModelSpec, root: Path) -> None:
    """What the job was asked for, with the settings that a search had found."""
    searched = {name: str(then.settings[name]) for name in (spec.train.search.space if spec.train.search else ()) if name in then.settings}
    asked = {"model": run.model, "run": keys.run_id(run.epoch), "code": run.code_hash}
    _write(root / "input/config/hyperparameters.json", json.dumps(asked | searched).encode())


def peers_of(root: Path) -> tuple[Path, ...]:
    """The trees of a job's other instances, below the first one's; none where it had one."""
    return tuple(sorted((root / "peers").iterdir())) if (root / "peers").exists() else ()


def _instances(count: int, root: Path) -> None:
    """Each instance's own tree: they read the same data, and know each other by addresses of this machine."""
    hosts = [f"127.0.0.{at}" for at in range(1, count + 1)]
    for at, host in enumerate(hosts if count > 1 else []):
        tree = root / f"peers/{at + 1}" if at else root
        if at:
            (tree / "input/config").mkdir(parents=True)
            (tree / "input/data").symlink_to((root / "input/data").resolve())
            _write(tree / "input/config/hyperparameters.json", (root / "input/config/hyperparameters.json").read_bytes())
        _write(tree / "input/config/resourceconfig.json", json.dumps({"hosts": hosts, "current_host": host}).encode())


def _code(run: Run, folder: Path, lake: Store) -> None:
    prefix = keys.code_prefix(run.model, run.code_hash)
    for key in sorted({key for key, _ in lake.list_versions(prefix)}):
        _write(folder / key.removeprefix(prefix), lake.get(key))


def _manifest(dataset: Dataset, folder: Path) -> None:
    _write(folder / "manifest.json", dataset.model_dump_json().encode())
    _write(folder / "layout.json", unpacked(dataset).model_dump_json().encode())


def _former(which: str, former: Comparison, model: str, inputs: Path, ledger: Ledger, lake: Store) -> None:
    """A champion decides which rows judge: those it did not learn from."""
    package = ledger.package(model, int(former.champion.rpartition("/")[2]))
    _write(inputs / which / "model.tar.gz", lake.get(package.model_data.removeprefix(lake.uri(""))))
    learned = trace.dataset_of(ledger.run(model, package.run), lake=lake)
    _write(inputs / f"{which}_dataset/manifest.json", learned.model_dump_json().encode())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
