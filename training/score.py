"""score: what a champion of another image says of the held-out rows, said in its own image. A SageMaker processing job.

Inputs below /opt/ml/processing/input: `model` (model.tar.gz), `dataset`, `test` (rows). Output: its scores in the order of the rows, and
its model.json; or why it cannot score these rows, which fails nobody's evaluation.
"""

import sys

import numpy as np

from tidemill.load import batches, read_manifest
from tidemill.model import package
from tidemill.model.features import features_of
from training import paths
from training.evaluate import unpacked
from training.holdout import FAULT, SCORES, reason_of


def score() -> None:
    inputs, output = paths.PROCESSING / "input", paths.PROCESSING / "output"
    output.mkdir(parents=True, exist_ok=True)
    try:
        dataset, layout = read_manifest(inputs / "dataset")
        scorer = package.load(unpacked(inputs / "model"))
        rows = (rows for rows in batches(inputs / "test", dataset, "test", layout=layout) if len(rows))
        scores = np.concatenate([scorer.scores(features_of(some, scorer.card.spec)) for some in rows])
    except Exception as error:  # whatever it is, it is the reason that nothing is compared
        (output / FAULT).write_text(reason_of(error), encoding="utf-8")
        print(f"cannot score these rows: {reason_of(error)}", flush=True)
        return
    np.save(output / SCORES, scores)
    (output / package.CARD).write_text(scorer.card.model_dump_json(), encoding="utf-8")
    print(f"{len(scores):,} rows scored", flush=True)


if __name__ == "__main__":
    sys.exit(paths.command(score))
