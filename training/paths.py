"""Where SageMaker puts things. One variable moves the tree, so that the same commands run outside a container."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path

OPT_ML = Path(os.environ.get("OPT_ML", "/opt/ml"))

HYPERPARAMETERS = OPT_ML / "input/config/hyperparameters.json"
RESOURCES = OPT_ML / "input/config/resourceconfig.json"
CHANNELS = OPT_ML / "input/data"
MODEL = OPT_ML / "model"
FAILURE = OPT_ML / "output/failure"
PROCESSING = OPT_ML / "processing"
CHECKPOINTS = OPT_ML / "checkpoints"
EXIT_MESSAGE = OPT_ML / "output/message"


def command(work: Callable[[], object]) -> int:
    """Run a container command; its exit code. A failure's reason is left where SageMaker reads it."""
    try:
        work()
    except Exception as error:  # the container's outermost frame: the reason must reach FailureReason
        traceback.print_exc()
        fail(error)
        return 1
    return 0


def fail(error: BaseException) -> None:
    """Leave the reason where SageMaker turns it into FailureReason (training: output/failure, processing: output/message)."""
    text = f"{type(error).__name__}: {error}"[:1024]
    for path in (FAILURE, EXIT_MESSAGE):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
