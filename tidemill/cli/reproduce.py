"""`tidemill reproduce`: a run's training and evaluation once more, on this machine, from the record alone."""

import os
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from tidemill import keys
from tidemill.cli.render import NONE
from tidemill.cli.stage import AsJson, Model, Stage, StageName, console, echo_json, table
from tidemill.errors import NotReproducible
from tidemill.evaluate.record import Evaluation
from tidemill.metric import KINDS
from tidemill.steps.reproduce import Reproduced, beside, lay_out, peers_of

ROOT = Path(__file__).resolve().parents[2]
Keep = Annotated[Path | None, typer.Option("--keep", help="A folder to leave the whole job in; without it nothing is left.")]


def reproduce(
    model: Model, run: Annotated[int, typer.Argument(metavar="RUN", min=1, help="The run's number.")], keep: Keep = None, stage: StageName = "dev",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Train and judge a run's model again from the record, and prove that its metrics, and the model itself, are the same."""
    if not (ROOT / "training/train.py").exists() or find_spec("sklearn") is None:
        raise NotReproducible("training is not at hand: run this in a clone of the repository, after make setup")
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise NotReproducible(f"{keep}: not an empty folder: name another, or remove it")
    at = Stage.of(stage)
    record = at.ledger.run(model, run)
    with tempfile.TemporaryDirectory(prefix="reproduce-") as work:
        root = keep or Path(work)
        then = lay_out(record, root, ledger=at.ledger, lake=at.lake)
        found = beside(then, _again(root, then))
    if as_json:
        same = {"same_metrics": found.same_metrics, "same_model": found.same_model}
        echo_json({"run": keys.run_id(run), **same, "metrics": found.metrics, "versions": found.versions})
    else:
        _show(f"run {keys.run_id(run)} of {model}", found)
    if not found.same_metrics:
        raise typer.Exit(1)


def _again(root: Path, then: Evaluation) -> Evaluation:
    """Train and evaluate as the container does."""
    formers = {"CHAMPION": then.champion.champion if then.champion else "", "BEST": then.best.champion if then.best else ""}
    _run("train", (root, *peers_of(root)), {"TRAINING_JOB_NAME": str(root)})
    challenger = root / "processing/input/challenger"
    challenger.mkdir(parents=True, exist_ok=True)
    with tarfile.open(challenger / "model.tar.gz", "w:gz") as archive:
        archive.add(root / "model", arcname=".")
    _run("evaluate", (root,), formers)
    return Evaluation.model_validate_json((root / "processing/output/evaluation.json").read_text(encoding="utf-8"))


def _run(command: str, trees: tuple[Path, ...], more: dict[str, str]) -> None:
    """One process a tree, all at once: the instances of a training job wait for each other, and end when one is gone."""

    def work(tree: Path) -> "subprocess.CompletedProcess[str]":
        environment = os.environ | more | {"OPT_ML": str(tree), "PYTHONPATH": str(ROOT)}
        return subprocess.run([sys.executable, "-m", f"training.{command}"], env=environment, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(len(trees)) as pool:
        ended = list(zip(trees, pool.map(work, trees), strict=True))
    reasons = [_reason(tree, done) for tree, done in ended if done.returncode]
    if reasons:  # a peer's end is no reason: the one that failed first has another
        raise NotReproducible(f"{command} failed this time: {min(reasons, key=lambda reason: reason.startswith('EngineFailed'))}")


def _reason(tree: Path, done: "subprocess.CompletedProcess[str]") -> str:
    left = tree / "output/message"
    return left.read_text(encoding="utf-8") if left.exists() else done.stderr[-1000:]


def _show(what: str, found: Reproduced) -> None:
    out = console()
    figures = table("metric", "recorded", "again", "")
    for metric, (was, again) in found.metrics.items():
        same = "the same" if was == again else NONE if again is None else f"{again - was:+.2g}"
        figures.add_row(KINDS[metric].name, f"{was:.10g}", NONE if again is None else f"{again:.10g}", same)
    out.print(figures)
    for name, (before, now) in found.versions.items():
        out.print(f"{name}: {before or 'not recorded'} then, {now or 'not here'} now")
    model = "the same model, bit by bit" if found.same_model else "another file of the model"
    out.print(f"{what}: {'reproduced' if found.same_metrics else 'NOT reproduced'}, {model}")
