"""Every S3 key and every name that Tidemill gives to something. Nothing else builds one."""

import re
from dataclasses import dataclass
from typing import Literal

LANDING_KEY = re.compile(r"(?P<model>[a-z][a-z0-9-]{1,22}[a-z0-9])/(?P<kind>data|labels)/(?P<file>[^/].*)", re.DOTALL)
"""The model part is what a model may be called: others may write to landing, and what they write becomes no name of ours."""


@dataclass(frozen=True)
class LandingKey:
    """A key of the landing bucket that Tidemill acts on: `<model>/data/<file>` or `<model>/labels/<file>`."""

    model: str
    kind: Literal["data", "labels"]
    file: str


def parse_landing_key(key: str) -> LandingKey | None:
    """The parts of a landing key, or None for a key that is not ours (also a folder marker)."""
    match = LANDING_KEY.fullmatch(key)
    if match is None or key.endswith("/"):
        return None
    return LandingKey(match["model"], match["kind"], match["file"])  # type: ignore[arg-type]  # the pattern allows only these


def run_id(epoch: int) -> str:
    return f"{epoch:04d}"


def execution_name(model: str, epoch: int) -> str:
    return f"{model}-{run_id(epoch)}"


def job_prefix(stage: str, model: str, epoch: int, deployment: str) -> str:
    """The start of every SageMaker job name of a run; `-<step>-<attempt>` follows.

    Job names can never be reused in an account and a region, so stage and deployment (four hex digits of the state
    machine's identity, which changes when a stack is destroyed and made again) are part of it. At most
    12 + 24 + 6 + 4 + separators, so that with `-evaluate-99` it stays within SageMaker's 63 characters.
    """
    return f"{stage}-{model}-{run_id(epoch)}-{deployment}"


def rows_prefix(model: str) -> str:
    """Rows and rejects have folders of their own: each is a table to SQL engines, which read every file below a location."""
    return f"{model}/rows/"


def part_file(model: str, part_id: str, file: str) -> str:
    """One Parquet file of a part's rows: `train`, `validation`, `test`, or a UTC day."""
    return f"{model}/{rows_path(part_id, file)}"


def rows_path(part_id: str, file: str) -> str:
    """The same below the model's folder: in a channel, in a layout."""
    return f"rows/{part_id}/{file}.parquet"


def pack_path(split: str, pack_id: str) -> str:
    """Rows of many small files in one, below the model's folder. By split, so that a role reads the packs of its own side only."""
    return f"packs/{split}/{pack_id}.parquet"


def pack_file(model: str, split: str, pack_id: str) -> str:
    return f"{model}/{pack_path(split, pack_id)}"


def rejects_prefix(model: str) -> str:
    return f"{model}/rejects/"


def part_rejects(model: str, part_id: str) -> str:
    return f"{rejects_prefix(model)}{part_id}/rejects.parquet"


def part_profile(model: str, part_id: str) -> str:
    return f"{model}/parts/{part_id}/profile.json"


def part_record(model: str, part_id: str) -> str:
    """Written last: what has it is whole."""
    return f"{model}/parts/{part_id}/part.json"


def part_index(model: str) -> str:
    """What assemble knows of every part that counts: a copy out of part records, so that a run reads only those of new parts."""
    return f"{model}/parts/index.v1.json"


def dataset_prefix(model: str, dataset_id: str) -> str:
    return f"{model}/datasets/{dataset_id}/"


def dataset_manifest(model: str, dataset_id: str) -> str:
    return f"{dataset_prefix(model, dataset_id)}dataset/manifest.json"


def dataset_layout(model: str, dataset_id: str) -> str:
    return f"{dataset_prefix(model, dataset_id)}dataset/layout.json"


def dataset_summary(model: str, dataset_id: str) -> str:
    return f"{dataset_prefix(model, dataset_id)}summary.json"


def channel_manifest(model: str, dataset_id: str, split: str) -> str:
    return f"{dataset_prefix(model, dataset_id)}channels/{split}.manifest"


def code_prefix(model: str, code_hash: str) -> str:
    return f"{model}/code/{code_hash}/"


def run_prefix(model: str, run: str) -> str:
    return f"{model}/runs/{run}/"


def work_list(model: str, run: str) -> str:
    return f"{run_prefix(model, run)}work.json"


def large_result(model: str, run: str, upload_id: str) -> str:
    """How the job of large uploads ended with an upload."""
    return f"{run_prefix(model, run)}large/{upload_id}.json"


def evaluation_prefix(model: str, run: str) -> str:
    """`<attempt>/evaluation.json` follows."""
    return f"{run_prefix(model, run)}evaluate/"


def scores(model: str, run: str) -> str:
    """What champions of other images said of the held-out rows; `/champion` or `/best` follows."""
    return f"{run_prefix(model, run)}scores"


def checkpoints(model: str, run: str) -> str:
    """What a training job leaves from time to time, for the next attempt when its spot instance is taken away."""
    return f"{run_prefix(model, run)}checkpoints"


def report(model: str, run: str) -> str:
    """The page of a run that was judged."""
    return f"{run_prefix(model, run)}report.html"


def upload_facts(model: str) -> str:
    return f"{model}/catalog/uploads/"


def upload_fact(model: str, upload_id: str) -> str:
    """What became of an upload, as a line of a SQL table."""
    return f"{upload_facts(model)}{upload_id}.json"


def dataset_facts(model: str) -> str:
    return f"{model}/catalog/datasets/"


def dataset_fact(model: str, run: str) -> str:
    """The parts of the dataset that a run learned from. By run: two runs may learn from one dataset."""
    return f"{dataset_facts(model)}{run}.json"


def parts_prefix(model: str) -> str:
    return f"{model}/parts/"


def erasures_prefix(model: str) -> str:
    return f"{model}/erasures/"


def erasure(model: str, erasure_id: str) -> str:
    """What an erasure takes away and whether it is done, so that one that was interrupted is finished by the next."""
    return f"{erasures_prefix(model)}{erasure_id}.json"


QUERY_RESULTS = "query_results/"
"""Where the Athena workgroup leaves the results of queries. No model's folder: their names have no underscore."""


def parameter_name(stage: str, model: str) -> str:
    return f"/tidemill/{stage}/models/{model}"


def endpoint_name(stage: str, model: str) -> str:
    return f"{stage}-{model}"


def package_group(stage: str, model: str) -> str:
    return f"{stage}-{model}"
