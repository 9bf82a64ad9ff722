"""How far a training job is: printed for whoever searches, and kept where an interrupted job finds it again."""

import hashlib
import json
from pathlib import Path
from typing import Any

import joblib

from tidemill.jobs import objective_line
from tidemill.model.boosting import Grown


class Checkpoints:
    """Progress in the folder that SageMaker copies to S3 while the job runs, and back before it starts again."""

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        """`job`: what makes it this job: another one's checkpoint is none."""
        self._folder = folder
        self._path = folder / f"grown-{hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:16]}.joblib"

    def load(self) -> Grown | None:
        if not self._path.exists():
            return None
        grown: Grown = joblib.load(self._path)
        print(f"goes on from {grown.trees} trees, which an interrupted job left", flush=True)
        return grown

    def save(self, grown: Grown) -> None:
        """Whole or not at all: the instance may go at any moment."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        joblib.dump(grown, partial)
        partial.rename(self._path)

    def tell(self, value: float) -> None:
        print(objective_line(value), flush=True)
