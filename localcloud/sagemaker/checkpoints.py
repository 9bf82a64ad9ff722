"""The checkpoints of a training job: brought from S3 before its container starts, kept in S3 while it runs.

Source: docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
"""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from localcloud.clients import Clients
from localcloud.sagemaker.data import OPT_ML, DataError, download, local, put, split_uri

FOLDER = f"{OPT_ML}/checkpoints"
SAVE_EVERY_S = 0.5


class Checkpoints:
    """The folder of a CheckpointConfig; without one nothing is brought or kept. A context: the folder is kept in S3 until its end."""

    def __init__(self, config: dict[str, Any], folder: Path, clients: Clients) -> None:
        """Raises DataError for a LocalPath that is not below /opt/ml."""
        self._clients = clients
        self._uri = str(config.get("S3Uri", "")).rstrip("/")
        self._folder = local(folder, str(config.get("LocalPath") or FOLDER).rstrip("/"))
        self._saved: dict[Path, tuple[int, int]] = {}
        self._done = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True, name="checkpoints")

    def restore(self) -> None:
        """Bring what is below the S3Uri, which may be nothing. Raises DataError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._uri:
            download({"S3Uri": f"{self._uri}/"}, self._folder, self._clients, needed=False)
            self._saved = {path: _version(path) for path in self._folder.rglob("*") if path.is_file()}

    def __enter__(self) -> "Checkpoints":
        if self._uri:
            self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        """The last state goes to S3 also when the container was taken away. Raises DataError."""
        if self._uri:
            self._done.set()
            self._keeper.join()
            self._save()

    def _keep(self) -> None:
        while not self._done.wait(SAVE_EVERY_S):
            with suppress(DataError):  # the last save tells it
                self._save()

    def _save(self) -> None:
        """Upload what is new or changed. A file that went away meanwhile was no checkpoint."""
        bucket, key = split_uri(self._uri)
        for path in sorted(self._folder.rglob("*")):
            with suppress(FileNotFoundError):
                version = _version(path)
                if path.is_file() and self._saved.get(path) != version:
                    put(path, bucket, f"{key}/{path.relative_to(self._folder)}".lstrip("/"), self._clients)
                    self._saved[path] = version


def _version(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
