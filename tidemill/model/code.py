"""`model.py`: the part of a model that its author writes. It is run in training, and again wherever the model is loaded."""

import importlib.util
import io
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO, TypeVar

import pandas as pd

from tidemill.errors import ModelCodeFailed
from tidemill.spec import ModelSpec

Result = TypeVar("Result")
FILE = "model.py"
MODULE = "tidemill_model_code"
"""The name the module is imported under: what a pickled estimator of it says it is of."""
PRINTED = 1_000_000
"""Characters that one piece of the author's code may print."""


def load_code(folder: Path) -> ModuleType | None:
    """The model.py of a folder, or None where there is none. Raises ModelCodeFailed with the author's own traceback."""
    path = folder / FILE
    if not path.exists():
        return None
    declared = importlib.util.spec_from_file_location(MODULE, path)
    if declared is None or declared.loader is None:
        raise ModelCodeFailed(f"{FILE} cannot be imported")
    module = importlib.util.module_from_spec(declared)
    sys.modules[MODULE] = module
    run(lambda: declared.loader.exec_module(module) if declared.loader else None, "importing it")
    return module


def build(module: ModuleType | None, estimator: str, spec: ModelSpec, settings: Mapping[str, Any]) -> Any:
    """The estimator that `model.py:<function>` makes of the spec and its settings: unfitted, with fit, and predict_proba or predict as the task needs."""
    name = estimator.partition(":")[2]
    function = getattr(module, name, None)
    if not callable(function):
        raise ModelCodeFailed(f"{FILE} has no function '{name}', which train.estimator names")
    made = run(lambda: function(spec, **settings), f"{name}(spec)")
    answer = "predict" if spec.task == "regression" else "predict_proba"
    if missing := [method for method in ("fit", answer) if not callable(getattr(made, method, None))]:
        raise ModelCodeFailed(
            f"{FILE}: {name}(spec) gave a {type(made).__name__}, which has no {' and no '.join(missing)}: task {spec.task} needs both"
        )
    return made


def features(module: ModuleType | None) -> Callable[[pd.DataFrame], pd.DataFrame] | None:
    """The author's `features(frame)`, where model.py has one: the spec's features in, what the estimator learns from out."""
    function = getattr(module, "features", None)
    return function if callable(function) else None


class OutputTooLong(Exception):
    """The author's code printed more than anyone reads, and more than a log should cost."""


class _Limited(io.TextIOBase):
    """A stream that gives up after PRINTED characters."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._left = stream, PRINTED

    def write(self, text: str) -> int:
        self._left -= len(text)
        if self._left < 0:
            raise OutputTooLong(f"it printed more than {PRINTED:,} characters")
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


def run(work: Callable[[], Result], what: str) -> Result:
    """Run the author's code. Raises ModelCodeFailed: the error, then the author's own lines of the traceback, innermost last."""
    try:
        with redirect_stdout(_Limited(sys.stdout)), redirect_stderr(_Limited(sys.stderr)):
            return work()
    except Exception as error:  # whatever the author's code raises is theirs to see
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == FILE]
        lines = "\n".join(f"  {FILE}:{frame.lineno} in {frame.name}: {frame.line}" for frame in own[-8:])
        raise ModelCodeFailed(f"{FILE}: {what}: {type(error).__name__}: {error}\n{lines}".rstrip()) from error
