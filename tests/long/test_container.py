"""The Dockerfile without an engine: each of its steps is run, in order, in a clean environment; then the three commands."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.request
from pathlib import Path

import pytest

from tests.samples import SPEC, rows, spec
from tidemill import keys
from tidemill.dataset import Candidate, DatasetPart, assemble
from tidemill.layout import unpacked
from tidemill.prepare.part import prepare

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
INSTRUCTION = re.compile(r"^([A-Z]+)\s+(.*)$")


class Container:
    """A folder that stands for the container's root, and a venv that stands for its python."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.venv = folder / "venv"
        subprocess.run([interpreter(), "-m", "venv", str(self.venv)], check=True)
        self.env = {"PATH": f"{self.root}/usr/local/bin:{self.venv}/bin:{os.environ['PATH']}", "HOME": str(folder)}
        self.env |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
        self.workdir = self.root

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def inside(self, text: str) -> str:
        """Container paths in a command or a value as paths here."""
        return re.sub(r"(?<![\w.])/(opt|usr/local)/", lambda m: f"{self.root}/{m[1]}/", text)

    def step(self, name: str, argument: str) -> None:
        if name == "COPY":
            source, target = argument.split()
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copyfile
            self.path(target).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / source, self.path(target), **({"dirs_exist_ok": True} if copy is shutil.copytree else {}))
        elif name == "ENV":
            self.env |= {key: self.inside(value) for key, _, value in (pair.partition("=") for pair in argument.split())}
        elif name == "RUN":
            subprocess.run(self.inside(argument), shell=True, check=True, env=self.env, cwd=self.root)
        elif name == "WORKDIR":
            self.workdir = self.path(argument)
            self.workdir.mkdir(parents=True, exist_ok=True)
        else:
            assert name in ("ARG", "FROM", "EXPOSE", "CMD"), f"a step this test does not run: {name}"

    def run(self, command: str, opt_ml: Path, **more: str) -> "subprocess.Popen[str]":
        env = self.env | {"OPT_ML": str(opt_ml)} | more
        return subprocess.Popen([command], env=env, cwd=self.workdir, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def interpreter() -> str:
    """The image's python, 3.13, where it is at hand (also below pyenv); otherwise this one."""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob("3.13*/bin/python3.13"))
    for found in [shutil.which("python3.13"), *map(str, pyenv)]:
        if found and subprocess.run([found, "-c", "import venv, ensurepip"], check=False, capture_output=True).returncode == 0:
            return found
    return sys.executable


@pytest.fixture(scope="module")
def container(tmp_path_factory) -> Container:
    made = Container(tmp_path_factory.mktemp("image"))
    made.root.mkdir()
    lines = (ROOT / "training" / "Dockerfile").read_text().splitlines()
    for line in lines:
        if line and not line.startswith("#"):
            made.step(*INSTRUCTION.match(line).groups())
    return made


@pytest.fixture(scope="module")
def trained(container, tmp_path_factory) -> Path:
    """An /opt/ml tree on which the container's train command has run."""
    opt_ml = tmp_path_factory.mktemp("opt-ml")
    part = prepare(rows(20, 40).encode(), "a.csv", spec())
    dataset = assemble((Candidate(DatasetPart.of(part.record)),), spec())
    for channel in ("input/data/train", "input/data/validation", "processing/input/test"):
        for name, data in part.files.items():
            path = opt_ml / channel / keys.rows_path(part.record.id, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    for folder in ("input/data/dataset", "processing/input/dataset"):
        (opt_ml / folder).mkdir(parents=True)
        (opt_ml / folder / "manifest.json").write_text(dataset.model_dump_json())
        (opt_ml / folder / "layout.json").write_text(unpacked(dataset).model_dump_json())
    (opt_ml / "input/data/code/boats").mkdir(parents=True)
    (opt_ml / "input/data/code/boats/model.toml").write_text(SPEC)
    (opt_ml / "input/config").mkdir()
    (opt_ml / "input/config/hyperparameters.json").write_text(json.dumps({"model": "boats", "run": "0001"}))
    process = container.run("train", opt_ml)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return opt_ml


def test_train_leaves_a_model(trained):
    card = json.loads((trained / "model/model.json").read_text())
    assert card["train_rows"] == 480
    assert set(card["versions"]) == {"python", "tidemill", "numpy", "pandas", "polars", "scikit-learn"}


def test_evaluate_scores_the_holdout(container, trained):
    (trained / "processing/input/challenger").mkdir(exist_ok=True)
    with tarfile.open(trained / "processing/input/challenger/model.tar.gz", "w:gz") as tar:
        for path in (trained / "model").iterdir():
            tar.add(path, path.name)
    process = container.run("evaluate", trained)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    evaluation = json.loads((trained / "processing/output/evaluation.json").read_text())
    assert evaluation["rows"] == 160
    assert len(evaluation["golden"]) == 20


def test_serve_answers_ping_and_invocations(container, trained):
    process = container.run("serve", trained, SAGEMAKER_BIND_TO_PORT="18080", BIND_HOST="127.0.0.1", MODEL_PACKAGE="boats/1")
    try:
        base = "http://127.0.0.1:18080"
        wait_until_up(f"{base}/ping", process)
        request = urllib.request.Request(f"{base}/invocations", b"sail,north,10.5,3\n", {"Content-Type": "text/csv"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.loads(answer.read())["model"] == "boats/1"
            assert answer.headers["X-Amzn-SageMaker-Custom-Attributes"] == "boats/1"
    finally:
        process.kill()
        process.wait()


def test_a_failing_training_leaves_its_reason_where_sagemaker_reads_it(container, trained, tmp_path):
    shutil.copytree(trained / "input", tmp_path / "input")
    (tmp_path / "input/data/code/boats/model.toml").write_text("name = 3")
    process = container.run("train", tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert "SpecError" in (tmp_path / "output/failure").read_text()


def wait_until_up(url: str, process: "subprocess.Popen[str]") -> None:
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        assert process.poll() is None, process.stdout.read()
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"{url} did not answer")
