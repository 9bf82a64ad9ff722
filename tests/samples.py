"""Small specs and rows that many tests share."""

import io
import zipfile

from tidemill.evaluate.record import Comparison, Evaluation, Interval, Resampled, Scores
from tidemill.spec import ModelSpec, parse_spec

SPEC = """
name = "boats"
task = "binary"
question = "Will it sink?"
owners = ["harbour@example.com"]
[data]
quiet_s = 60
max_wait_s = 300
reject_share_max = 0.5
min_rows = 1
split = { by = "time", train = 0.6, validation = 0.2, test = 0.2 }
[columns]
id = { role = "key", type = "string" }
day = { role = "time", type = "datetime" }
sank = { role = "label", type = "boolean", nullable = true }
kind = { type = "category", allowed = ["sail", "motor"] }
port = { type = "category", nullable = true, allowed = ["north", "south"], other = "missing" }
length_m = { type = "float", min = 1, max = 400 }
crew = { type = "integer", nullable = true, min = 0 }
note = { role = "ignore", type = "string", nullable = true }
[gate]
floor = { roc_auc = 0.58 }
margin = 0.002
"""

HEADER = "id,day,sank,kind,port,length_m,crew,note"


def spec(text: str = SPEC) -> ModelSpec:
    return parse_spec(text, "models/boats/model.toml")


def by_key() -> str:
    return SPEC.replace('by = "time"', 'by = "key"')


def rows(days: int = 10, per_day: int = 4) -> str:
    lines = [
        f"b{day}-{i},2024-05-{day:02d}T0{i % 10}:00:00,{str((day + i) % 2 == 0).lower()},{('sail', 'motor')[i % 2]},north,{10 + i}.5,{i},"
        for day in range(1, days + 1)
        for i in range(per_day)
    ]
    return "\n".join([HEADER, *lines]) + "\n"


def folder(text: str = SPEC) -> bytes:
    """The zip of a model's folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.toml", text)
    return buffer.getvalue()


def scores(auc: float) -> Scores:
    return Scores(metrics={"roc_auc": Interval(value=auc, low=auc - 0.02, high=auc + 0.02)})


def evaluation(auc: float, champion: float | None = None, gain: tuple[float, float, float] = (0, 0, 0), **more) -> Evaluation:
    value, low, high = gain
    against = None if champion is None else Comparison(champion="boats/6", scores=scores(champion), gain=Interval(value=value, low=low, high=high))
    facts = {
        "model": "boats", "run": "0007", "task": "binary", "primary": "roc_auc", "dataset": "d", "rows": 2498, "labels": {"true": 600, "false": 1898},
        "period": "May", "confidence": 0.95, "resampled": Resampled(by="row", units=2498, method="percentile"), "challenger": scores(auc),
        "baseline": scores(0.6), "champion": against, "golden": (),
    }  # fmt: skip
    return Evaluation(**facts | more)
