"""ModelSpec: what a `model.toml` may say.

It is the one file a data scientist writes. It accepts only what the system does today: a key with one possible value
declares it, and anything else is an error, like a typo.
"""

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from tidemill.errors import SpecError
from tidemill.expression import parse_check
from tidemill.metric import KINDS, PRIMARY, Metric, Task, metrics_of
from tidemill.toml_lines import line_of

Role = Literal["key", "time", "feature", "label", "weight", "ignore"]
ColumnType = Literal["string", "category", "integer", "float", "boolean", "datetime"]

SQL_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
RESERVED = frozenset({"_key_hash", "_line", "_file"})
NUMERIC: frozenset[str] = frozenset({"integer", "float"})
TEXT: frozenset[str] = frozenset({"string", "category"})
LABELS: dict[Task, frozenset[str]] = {"binary": frozenset({"boolean"}), "multiclass": frozenset({"category"}), "regression": NUMERIC}
WINDOW = re.compile(r"all|(?P<days>[1-9]\d{0,3})d|(?P<uploads>[1-9]\d{0,5}) uploads?")
MLFLOW = re.compile(
    r"https?://[A-Za-z0-9.-]+(:\d{1,5})?(/[^\s?#]*)?|arn:aws(-us-gov)?:sagemaker:[a-z0-9-]+:\d{12}:mlflow-(app|tracking-server)/[\w-]+"
)
NOT_SETTINGS = frozenset({"model", "run", "code", "image"})
SETTINGS: dict[str, tuple[str, ...]] = {
    "default": ("learning_rate", "max_iter", "max_leaf_nodes", "max_depth", "min_samples_leaf", "l2_regularization", "max_features", "max_bins"),
    "linear": ("C", "alpha"),
    "distributed": (
        "learning_rate", "n_estimators", "max_leaves", "max_depth", "min_child_weight", "reg_lambda", "subsample", "colsample_bynode", "max_bin",
    ),
}  # fmt: skip
"""What can be set of the estimators that need no model.py: scikit-learn's own names; of the default one that is distributed, XGBoost's."""
ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,22}[a-z0-9]$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Frozen):
    """One column of an upload: its type, its role, and the rules its values keep. `aliases` are other headers it may come under."""

    type: ColumnType
    role: Role = "feature"
    aliases: tuple[str, ...] = ()
    sensitive: bool = False
    nullable: bool = False
    min: float | None = None
    max: float | None = None
    allowed: tuple[str, ...] | None = None
    other: Literal["reject", "missing"] = "reject"
    pattern: str | None = None
    min_length: int | None = Field(default=None, ge=0)
    max_length: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _rules_fit_the_type(self) -> Self:
        if (self.min is not None or self.max is not None) and self.type not in NUMERIC:
            raise ValueError(f"min and max need type integer or float, not {self.type}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        if self.type not in TEXT and any(rule is not None for rule in (self.allowed, self.pattern, self.min_length, self.max_length)):
            raise ValueError(f"allowed, pattern and lengths need type string or category, not {self.type}")
        if self.min_length is not None and self.max_length is not None and self.min_length > self.max_length:
            raise ValueError(f"min_length {self.min_length} is above max_length {self.max_length}")
        if self.allowed is not None and not self.allowed:
            raise ValueError("allowed is empty: every row would be rejected")
        if self.other == "missing" and not (self.allowed and self.nullable):
            raise ValueError('other = "missing" needs allowed = [...] and nullable = true')
        if self.role in ("key", "time", "weight") and self.nullable:
            raise ValueError(f"a {self.role} column cannot be nullable")
        if self.role == "time" and self.type != "datetime":
            raise ValueError("the time column needs type datetime")
        if self.role == "weight" and (self.type not in NUMERIC or self.min is None or self.min < 0):
            raise ValueError("the weight column needs type integer or float, and min = 0 or more")
        if self.role == "key" and self.type not in ("string", "integer"):
            raise ValueError("the key column needs type string or integer")
        if self.role == "feature" and self.type in ("string", "datetime"):
            raise ValueError(f'a feature cannot have type {self.type}: use category or a number, or role = "ignore"')
        return self

    @property
    def names_groups(self) -> bool:
        """Sensitive, and of values that the spec itself names: a report may then speak of them."""
        fits = (self.type == "category" and self.allowed is not None) or (self.type == "boolean" and self.role == "feature")
        return self.sensitive and self.role in ("feature", "ignore") and fits


class Split(_Frozen):
    """How rows are dealt to train, validation and test: by whole days (UTC) or by a salted hash of the key."""

    by: Literal["time", "key"]
    train: float = Field(gt=0, lt=1)
    validation: float = Field(gt=0, lt=1)
    test: float = Field(gt=0, lt=1)
    salt: str | None = None

    @model_validator(mode="after")
    def _shares_add_up(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + validation + test is {total:g}, it must be 1")
        return self


class CsvOptions(_Frozen):
    """How a CSV file is written. A quote doubled inside a quoted field stands for itself."""

    delimiter: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', max_length=1)
    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    decimal: Literal[".", ","] = "."

    @model_validator(mode="after")
    def _characters_differ(self) -> Self:
        if not (self.delimiter + self.quote).isascii() or any(c in "\r\n\0" for c in self.delimiter + self.quote):
            raise ValueError("delimiter and quote are one ASCII character each, no line end")
        if self.delimiter == self.quote:
            raise ValueError("delimiter and quote must differ")
        return self


class Drift(_Frozen):
    """What becomes of a file whose columns are not quite the spec's. Renamed columns: `aliases` of a column."""

    new: Literal["ignore", "refuse"] = "ignore"
    missing: Literal["refuse", "null"] = "refuse"
    reordered: Literal["accept", "refuse"] = "accept"


class DataSpec(_Frozen):
    """The files: format, the quiet window that groups uploads, and when a whole file is refused."""

    format: Literal["csv", "jsonl", "parquet"] = "csv"
    csv: CsvOptions = CsvOptions()
    drift: Drift = Drift()
    freshness: str | None = Field(default=None, pattern=r"^[1-9]\d{0,4}[hd]$")
    quiet_s: float = Field(default=60, ge=0, le=900)
    max_wait_s: float = Field(default=900, ge=0, le=43_200)
    window: str = "all"
    reject_share_max: float = Field(default=0.05, ge=0, le=1)
    min_rows: int = Field(default=1, ge=1)
    split: Split

    @field_validator("window")
    @classmethod
    def _window_is_known(cls, text: str) -> str:
        if WINDOW.fullmatch(text) is None:
            raise ValueError('allowed are "all", days such as "90d", or uploads such as "12 uploads"')
        return text


class RowRule(_Frozen):
    """A check across columns that every row keeps, in the language of `tidemill.expression`."""

    name: str = Field(min_length=1, max_length=100)
    check: str = Field(max_length=1000)


class Costs(_Frozen):
    """What a wrong answer costs, in any unit: they choose the threshold of a binary model."""

    false_positive: float = Field(gt=0)
    false_negative: float = Field(gt=0)


Setting = bool | int | float | str


class Range(_Frozen):
    """What one setting of the estimator may be: a number between two, or one of some values."""

    min: float | None = None
    max: float | None = None
    scale: Literal["linear", "log"] = "linear"
    integer: bool = False
    values: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if (self.values is None) == (self.min is None or self.max is None):
            raise ValueError("a range has min and max, or values = [...], not both")
        if self.values is not None:
            if len(set(self.values)) < 2 or self.scale != "linear" or self.integer:
                raise ValueError("values are two different texts at least, and have no scale and no integer")
            return self
        if self.min >= self.max:  # type: ignore[operator]  # both are there
            raise ValueError(f"min {self.min:g} is not below max {self.max:g}")
        if self.scale == "log" and self.min <= 0:  # type: ignore[operator]
            raise ValueError(f'scale = "log" needs a min above 0, not {self.min:g}')
        if self.integer and not (float(self.min).is_integer() and float(self.max).is_integer()):  # type: ignore[arg-type]
            raise ValueError("integer = true needs whole numbers as min and max")
        return self


class Search(_Frozen):
    """Training jobs that try settings; the best on the validation rows is the challenger."""

    strategy: Literal["bayesian", "random", "hyperband"] = "bayesian"
    max_jobs: int = Field(default=20, ge=1, le=750)
    max_parallel: int = Field(default=2, ge=1, le=100)
    early_stopping: bool = True
    space: dict[str, Range] = Field(min_length=1, max_length=30)

    @model_validator(mode="after")
    def _names_are_settings(self) -> Self:
        for name in self.space:
            if not SQL_NAME.fullmatch(name) or name in NOT_SETTINGS:
                raise ValueError(f"space.{name}: no name of a setting")
        if self.max_parallel > self.max_jobs:
            raise ValueError(f"max_parallel {self.max_parallel} is above max_jobs {self.max_jobs}")
        return self


class TrainSpec(_Frozen):
    """The training job. `estimator` may name a function of the model's own model.py that makes one; `settings` are passed to it.

    scale: "distributed" trains the default estimator on several `instances`, each of which holds its share of the rows in memory.
    """

    estimator: str = Field(default="default", pattern=r"^(default|linear|model\.py:[A-Za-z_][A-Za-z0-9_]*)$")
    balance: bool = False
    calibrate: Literal["none", "sigmoid", "isotonic"] = "none"
    costs: Costs | None = None
    settings: dict[str, Setting] = Field(default_factory=dict)
    search: Search | None = None
    scale: Literal["one", "distributed"] = "one"
    instances: int = Field(default=1, ge=1, le=20)
    instance: str = Field(default="ml.m5.large", pattern=r"^ml\.")
    or_instances: tuple[Annotated[str, StringConstraints(pattern=r"^ml\.")], ...] = Field(default=(), max_length=4)
    volume_gb: int = Field(default=30, ge=1, le=16_384)
    max_runtime_s: int = Field(default=3600, ge=60, le=432_000)
    spot: bool = False
    max_wait_s: int = Field(default=3600, ge=0, le=432_000)
    keep_alive_s: int = Field(default=0, ge=0, le=3600)
    max_cost_usd: float | None = Field(default=None, gt=0)
    seed: int = 13

    @model_validator(mode="after")
    def _scale_fits(self) -> Self:
        if (self.scale == "distributed") != (self.instances > 1):
            raise ValueError('instances: scale = "distributed" needs 2 or more of them, and anything else one')
        if self.scale == "distributed" and self.estimator != "default":
            raise ValueError(f"scale: only the default estimator can be distributed, not {self.estimator}; leave estimator out")
        return self

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        named = "distributed" if self.scale == "distributed" else self.estimator
        known = None if named.startswith("model.py:") else SETTINGS[named]
        for path, names in (("settings", self.settings), ("search.space", self.search.space if self.search else {})):
            for name in names:
                if known is not None and name not in known:
                    raise ValueError(f"{path}.{name}: the {named} estimator has no such setting; known are {', '.join(known)}")
        if self.search and (twice := self.settings.keys() & self.search.space.keys()):
            raise ValueError(f"settings.{min(twice)}: it is searched for as well")
        if self.spot and (self.or_instances or self.keep_alive_s):
            raise ValueError("spot: SageMaker takes no or_instances and keeps no instance alive (keep_alive_s) with spot capacity")
        if self.search and (self.or_instances or self.keep_alive_s):
            raise ValueError("search: the jobs of a search take no or_instances and keep no instance alive (keep_alive_s)")
        return self


class FairnessLimits(_Frozen):
    """How far the groups of a sensitive column may lie from the largest one: differences at most, and the ratio of selection rates at least."""

    demographic_parity_max: float | None = Field(default=None, ge=0, le=1)
    equal_opportunity_max: float | None = Field(default=None, ge=0, le=1)
    disparate_impact_min: float | None = Field(default=None, gt=0, le=1)

    @property
    def asked(self) -> bool:
        return any(limit is not None for limit in (self.demographic_parity_max, self.equal_opportunity_max, self.disparate_impact_min))


class CardSpec(_Frozen):
    """What people should know who meet the model: it goes into the registry's model card, word for word."""

    purpose: str = ""
    intended_uses: str = ""
    limits: str = ""
    ethics: str = ""


class GateSpec(_Frozen):
    """What a challenger must show before it may go live."""

    primary: Metric | None = None
    floor: dict[Metric, float] = Field(default_factory=dict)
    margin: float = Field(default=0.0, ge=0)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    min_rows: int = Field(default=1, ge=1)
    slices: tuple[str, ...] = ()
    slice_min_rows: int = Field(default=200, ge=20)
    slice_drop_max: float = Field(default=0.0, ge=0)
    fairness: FairnessLimits = FairnessLimits()
    latency_ms_max: float | None = Field(default=None, gt=0)
    size_mb_max: float | None = Field(default=None, gt=0)
    approve: Literal["auto", "person"] = "auto"
    approve_within_h: int = Field(default=168, ge=1, le=8760)


class ServeSpec(_Frozen):
    """The endpoint."""

    mode: Literal["serverless"] = "serverless"
    memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 2048
    max_concurrency: int = Field(default=5, ge=1, le=200)
    bake_s: int = Field(default=600, ge=0, le=86_400)
    max_error_rate: float = Field(default=0.01, ge=0, le=1)
    max_p95_ms: int = Field(default=3000, ge=1)


class ExperimentsSpec(_Frozen):
    """An MLflow server that every run which came to training is told to: its address, or on SageMaker the ARN of an MLflow App or tracking server."""

    mlflow: str
    experiment: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_./-]{1,256}$")

    @field_validator("mlflow")
    @classmethod
    def _can_be_reached(cls, place: str) -> str:
        if not MLFLOW.fullmatch(place):
            raise ValueError(
                "allowed are http(s)://host, without a user or a password, and the ARN of a SageMaker mlflow-app or mlflow-tracking-server"
            )
        return place


class ModelSpec(_Frozen):
    """A whole `model.toml`."""

    name: ModelName
    task: Task
    question: str = ""
    owners: tuple[str, ...] = Field(min_length=1)
    data: DataSpec
    columns: dict[str, Column] = Field(min_length=2)
    rules: tuple[RowRule, ...] = ()
    train: TrainSpec = TrainSpec()
    gate: GateSpec = GateSpec()
    serve: ServeSpec = ServeSpec()
    card: CardSpec = CardSpec()
    experiments: ExperimentsSpec | None = None

    @model_validator(mode="after")
    def _roles_are_complete(self) -> Self:
        counts = {role: sum(c.role == role for c in self.columns.values()) for role in ("key", "time", "label", "weight", "feature")}
        if counts["key"] != 1:
            raise ValueError(f'columns: exactly one needs role = "key", found {counts["key"]}')
        if counts["label"] != 1:
            raise ValueError(f'columns: exactly one needs role = "label", found {counts["label"]}')
        for role in ("time", "weight"):
            if counts[role] > 1:
                raise ValueError(f'columns: at most one may have role = "{role}", found {counts[role]}')
        if not counts["feature"]:
            raise ValueError("columns: no feature to learn from")
        if self.data.split.by == "time" and not counts["time"]:
            raise ValueError('data.split: by = "time" needs a column with role = "time"')
        if self.columns[self.label].type not in LABELS[self.task]:
            raise ValueError(f"columns.{self.label}.type: task {self.task} needs a label of type {' or '.join(sorted(LABELS[self.task]))}")
        return self

    @model_validator(mode="after")
    def _slices_are_of_columns(self) -> Self:
        for name in self.gate.slices:
            column = self.columns.get(name)
            if column is None or column.role in ("key", "label") or column.type not in ("category", "boolean"):
                raise ValueError(f"gate.slices: '{name}' is no category or boolean column that rows can be cut by")
            if column.sensitive:
                raise ValueError(f"gate.slices: '{name}' is sensitive, and a reason would tell its values")
        return self

    @model_validator(mode="after")
    def _fairness_can_be_judged(self) -> Self:
        if not self.gate.fairness.asked:
            return self
        if self.task != "binary":
            raise ValueError(f"gate.fairness: limits are of selection, which task {self.task} does not do; the evaluation tells its rates by group")
        if not any(column.names_groups for column in self.columns.values()):
            raise ValueError(
                "gate.fairness: no column is sensitive = true with type category and its values in allowed, or boolean: no groups to compare"
            )
        return self

    @model_validator(mode="after")
    def _task_fits(self) -> Self:
        """Metrics, costs, balance and calibration are of some tasks only."""
        for path, metric in (("gate.primary", self.gate.primary), *((f"gate.floor.{metric}", metric) for metric in self.gate.floor)):
            if metric is not None and self.task not in KINDS[metric].tasks:
                raise ValueError(f"{path}: {metric} does not judge task {self.task}; known are {', '.join(metrics_of(self.task))}")
        if self.train.costs is not None and self.task != "binary":
            raise ValueError(f"train.costs: only for task binary, not {self.task}")
        if self.task == "regression" and (self.train.balance or self.train.calibrate != "none"):
            raise ValueError("train: balance and calibrate are of classes, and task regression has none")
        return self

    @model_validator(mode="after")
    def _names_are_one_columns(self) -> Self:
        """Tables are made of the columns, and SQL names know no case; a header must mean one column."""
        seen: dict[str, str] = {}
        for name, column in self.columns.items():
            if not SQL_NAME.fullmatch(name) or name in RESERVED:
                raise ValueError(
                    f"columns.{name}: a column's name is letters, digits and _, does not begin with a digit, and is none of "
                    f"{', '.join(sorted(RESERVED))}; another header can be given as aliases"
                )
            for header in {name.lower(), *(alias.lower() for alias in column.aliases)}:
                if header in seen:
                    raise ValueError(f"columns.{name}: the header {header} means {seen[header]} already")
                seen[header] = name
        return self

    @model_validator(mode="after")
    def _rules_can_be_checked(self) -> Self:
        types = {name: column.type for name, column in self.columns.items() if column.role != "ignore"}
        for index, rule in enumerate(self.rules):
            try:
                parse_check(rule.check, types)
            except ValueError as error:
                raise ValueError(f"rules.{index}.check: {error}") from error
        if len({rule.name for rule in self.rules}) < len(self.rules):
            raise ValueError("rules: two have one name")
        if self.data.freshness is not None and self.time is None:
            raise ValueError('data.freshness: needs a column with role = "time"')
        if "csv" in self.data.model_fields_set and self.data.format != "csv":
            raise ValueError(f'data.csv: only for format = "csv", not {self.data.format}')
        return self

    def _only(self, role: Role) -> str:
        return next(name for name, column in self.columns.items() if column.role == role)

    @property
    def key(self) -> str:
        return self._only("key")

    @property
    def label(self) -> str:
        return self._only("label")

    @property
    def time(self) -> str | None:
        return next((name for name, column in self.columns.items() if column.role == "time"), None)

    @property
    def weight(self) -> str | None:
        return next((name for name, column in self.columns.items() if column.role == "weight"), None)

    @property
    def primary(self) -> Metric:
        return self.gate.primary or PRIMARY[self.task]

    @property
    def features(self) -> tuple[str, ...]:
        """Feature columns, in the order of the file: the order of a CSV request without a header."""
        return tuple(name for name, column in self.columns.items() if column.role == "feature")

    @property
    def salt(self) -> str:
        return self.data.split.salt or self.name

    @property
    def hash(self) -> str:
        """sha256 of everything the spec says, whatever the layout of the file."""
        return _digest(self.model_dump(mode="json"))

    @property
    def prepare_hash(self) -> str:
        """sha256 of what decides how a file becomes a part. Day cuts are not in it: they belong to the dataset."""
        data = self.data.model_dump(mode="json", include={"format", "csv", "drift", "freshness", "reject_share_max", "min_rows", "split"})
        if self.data.split.by == "time":
            data["split"] = {"by": "time"}
        columns = {name: column.model_dump(mode="json") for name, column in self.columns.items()}
        rules = [rule.model_dump(mode="json") for rule in self.rules]
        return _digest({"data": data, "columns": columns, "rules": rules, "salt": self.salt})


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def parse_spec(text: str, source: str) -> ModelSpec:
    """A spec from TOML text; `source` names the file in errors.

    Raises SpecError with one line a fault: file, key, value and what is allowed.
    """
    try:
        return ModelSpec.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{source}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise SpecError("\n".join(_explain(fault, text, source) for fault in error.errors())) from error


def load_spec(path: Path) -> ModelSpec:
    """The spec of `models/<name>/model.toml`; the folder's name must be the model's."""
    spec = parse_spec(path.read_text(encoding="utf-8"), str(path))
    if spec.name != path.parent.name:
        raise SpecError(f"{path}: name: '{spec.name}' must be the folder's name, '{path.parent.name}'")
    return spec


def _explain(fault: Any, text: str, source: str) -> str:
    """file:line: key: value: what is allowed. A rule of several keys names them itself."""
    message = fault["msg"].removeprefix("Value error, ")
    path = tuple(str(part) for part in fault["loc"])
    named = path if path else tuple(re.split(r"[.: ]", message.partition(": ")[0]))
    line = line_of(text, named)
    place = f"{source}:{line}" if line else source
    if fault["type"] == "extra_forbidden":
        message = f"unknown key; known are {', '.join(_known_keys(path[:-1]))}"
    elif not isinstance(fault["input"], dict) and path:
        message = f"{fault['input']!r}: {message}"
    return ": ".join(part for part in (place, ".".join(path), message) if part)


def _known_keys(path: tuple[str, ...]) -> list[str]:
    """The keys of the table at `path`, which is one that the spec has."""
    model: Any = ModelSpec
    for part in path:
        if model in (_COLUMNS, _RULES):
            model = Column if model is _COLUMNS else RowRule
        else:
            model = {"columns": _COLUMNS, "rules": _RULES}.get(part) or _table(model.model_fields[part].annotation)
    return list(model.model_fields)


def _table(annotation: Any) -> Any:
    """The model of a table that may be left out."""
    return next((kind for kind in get_args(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)), annotation)


_COLUMNS, _RULES = object(), object()
