"""The trees that SageMaker lays out for training and evaluation, made of uploads, so that both run in process."""

import json
import shutil
import tarfile
from pathlib import Path

from tidemill.dataset import Candidate, Dataset, DatasetPart, assemble
from tidemill.evaluate.record import Evaluation
from tidemill.layout import unpacked
from tidemill.model import package
from tidemill.prepare.part import prepare
from tidemill.spec import ModelSpec, parse_spec
from training import evaluate, paths, score, train


class Tree:
    """One /opt/ml tree for training and one for evaluation, as SageMaker lays them out."""

    def __init__(self, root: Path, monkeypatch, spec_text: str, *files: str, code: str | None = None) -> None:
        self.spec: ModelSpec = parse_spec(spec_text, "model.toml")
        self.root = root
        for name, where in {
            "CHANNELS": "input/data",
            "MODEL": "model",
            "PROCESSING": "processing",
            "FAILURE": "output/failure",
            "CHECKPOINTS": "checkpoints",
        }.items():
            monkeypatch.setattr(paths, name, root / where)
        monkeypatch.setattr(paths, "HYPERPARAMETERS", root / "input/config/hyperparameters.json")
        monkeypatch.setattr(paths, "EXIT_MESSAGE", root / "message")
        folder = root / "input/data/code" / self.spec.name
        folder.mkdir(parents=True)
        (folder / "model.toml").write_text(spec_text)
        if code is not None:
            (folder / "model.py").write_text(code)
        (root / "input/config").mkdir(parents=True)
        (root / "input/config/hyperparameters.json").write_text(json.dumps({"model": self.spec.name, "run": "0001"}))
        parts = [prepare(text.encode(), "rows.csv", self.spec) for text in files]
        self.dataset: Dataset = assemble(tuple(Candidate(DatasetPart.of(part.record)) for part in parts), self.spec)
        layout = unpacked(self.dataset)
        for split, place in (("train", "input/data/train"), ("validation", "input/data/validation"), ("test", "processing/input/test")):
            for path in layout.paths(split):
                part = next(part for part in parts if part.record.id in path)
                target = root / place / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(part.files[Path(path).stem])
        for place in ("input/data/dataset", "processing/input/dataset"):
            (root / place).mkdir(parents=True, exist_ok=True)
            (root / place / "manifest.json").write_text(self.dataset.model_dump_json())
            (root / place / "layout.json").write_text(layout.model_dump_json())

    def train(self) -> package.TrainedModel:
        return train.train()

    def keep(self, name: str, model: Path | None = None, dataset: Dataset | None = None) -> None:
        """A model as the input of that name, and for a champion the dataset it learned from."""
        folder = self.root / "processing/input" / name
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
            archive.add(model or self.root / "model", arcname=".")

        if name != "challenger":
            record = self.root / f"processing/input/{name}_dataset/manifest.json"
            record.parent.mkdir(exist_ok=True)
            record.write_text((dataset or self.dataset).model_dump_json())

    def score(self, name: str, model: Path, dataset: Dataset) -> None:
        """A champion scored in another image: its scores become the input of that name."""
        self.keep(name, model, dataset)
        inputs = self.root / "processing/input"
        (inputs / name).rename(inputs / "model")
        score.score()
        shutil.rmtree(inputs / "model")
        (self.root / "processing/output").rename(inputs / f"{name}_scores")

    def evaluate(self, champion: str | None = None, best: str | None = None) -> Evaluation:
        self.keep("challenger")
        return evaluate.evaluate(champion, best)
