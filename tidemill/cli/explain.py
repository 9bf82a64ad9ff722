"""`tidemill explain`: why a model answers one row as it does."""

import io
import sys
import tarfile
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.stage import AsJson, Model, Stage, StageName, console, echo_json, table
from tidemill.errors import RecordMissing, ScoringRefused
from tidemill.evaluate.record import Evaluation, Explained, figure
from tidemill.predict import parse_json

if TYPE_CHECKING:
    from tidemill.model.package import Scorer

Row = Annotated[
    Path, typer.Argument(metavar="FILE", help='JSON as the endpoint takes it: one row, a list, or {"instances": [...]}; - for standard input.')
]
Version = Annotated[int | None, typer.Option("--version", min=1, help="The package's version; the live one when not given.")]


def explain(model: Model, row: Row, version: Version = None, stage: StageName = "dev", as_json: AsJson = False) -> None:
    """Tell which features made a prediction what it is: Shapley values against some rows that were held out."""
    if find_spec("sklearn") is None:
        raise ScoringRefused("scikit-learn is not at hand: the model is loaded here; make setup installs it")
    at = Stage.of(stage)
    champion = at.ledger.champion(model)
    if version is None and champion is None:
        raise RecordMissing(f"{model}: no model is live yet: name one with --version")
    package = at.ledger.package(model, version or (champion.version if champion else 0))
    body = (sys.stdin.buffer.read() if str(row) == "-" else row.read_bytes()).strip()
    evaluation = Evaluation.model_validate_json(at.lake.get(package.evaluation))
    with tempfile.TemporaryDirectory(prefix="explain-") as folder:
        archive = at.lake.get(package.model_data.removeprefix(at.lake.uri("")))
        found = _explained(archive, Path(folder), body, evaluation)
    if as_json:
        echo_json([each.model_dump() for each in found])
        return
    out = console()
    for number, each in enumerate(found):
        out.print(
            f"{'' if number == 0 else chr(10)}{package.name} says {figure(each.score)}; on the mean of {len(evaluation.golden)} held-out rows {figure(each.base)}"
        )
        shown = table("feature", "value", "moves it by", right=("moves it by",))
        for reason in each.reasons:
            shown.add_row(reason.feature, reason.value or "–", f"{reason.effect:+.3g}")
        out.print(shown)


def _explained(archive: bytes, folder: Path, body: bytes, evaluation: Evaluation) -> tuple[Explained, ...]:
    """Our own lake's pickles, read as serving reads them."""
    from tidemill.model import package
    from tidemill.model.explain import explain as shapley
    from tidemill.model.features import features_from_columns

    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(folder, filter="data")
    scorer: Scorer = package.load(folder)
    spec = scorer.card.spec
    rows = parse_json(b"[%b]" % body if body.startswith(b"{") and b'"instances"' not in body else body, spec)
    known = {name: [golden.instance[name] for golden in evaluation.golden] for name in spec.features}
    return shapley(scorer, features_from_columns(rows, spec), features_from_columns(known, spec))
