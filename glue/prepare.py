"""The Glue job of large uploads: the parts of one bin, made on Spark by the same block function as in Lambda.

What it runs comes from S3: the layers that the functions have, unpacked once on the driver and once on each worker's machine
(Spark ships zips, but what is compiled cannot be imported from one). So nothing of tidemill can be imported before.
"""

import argparse
import logging
import os
import pickle
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from pyspark.sql import SparkSession

Function = Callable[[Any], Any]


def load_packages(uris: str) -> None:
    """Make the archives' `python/` folders importable. Processes that do it at once on one machine do not disturb each other."""
    root = Path(os.environ.get("SPARK_LOCAL_DIRS", tempfile.gettempdir()).partition(",")[0]) / "tidemill-packages"
    for uri in uris.split(","):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        folder = root / key.rpartition("/")[2]
        if not folder.exists():
            root.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(dir=root))
            archive = partial / "packages.zip"
            boto3.client("s3").download_file(bucket, key, str(archive))
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(partial)
            archive.unlink()
            try:
                partial.rename(folder)
            except OSError:  # another process was first, and its folder holds the same
                if not folder.exists():
                    raise
        if (path := str(folder / "python")) not in sys.path:
            sys.path.insert(0, path)


def shipped(uris: str) -> Callable[[Function], Function]:
    """A function on its way to the workers: unpickled there once what it is made of can be imported."""

    def ship(function: Function) -> Function:
        pickled = pickle.dumps(function)

        def run(data: Any) -> Any:
            load_packages(uris)
            return pickle.loads(pickled)(data)  # noqa: S301  # it was pickled by this job's driver

        return run

    return ship


def main() -> None:
    arguments = argparse.ArgumentParser()
    for name in ("--model", "--epoch", "--bin", "--landing", "--lake", "--ledger", "--packages"):
        arguments.add_argument(name, required=True)
    given, _ = arguments.parse_known_args()  # Glue adds words of its own
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    load_packages(given.packages)
    from tidemill.adapters.aws import S3Object, S3Store
    from tidemill.adapters.ledger import DynamoLedger
    from tidemill.events import PrepareRequest
    from tidemill.steps.prepare_large import prepare_large_bin

    request = PrepareRequest(model=given.model, epoch=int(given.epoch), bin=int(given.bin))
    spark = SparkSession.builder.getOrCreate()
    try:
        ended = prepare_large_bin(
            request, spark=spark, suppressions=DynamoLedger(given.ledger).suppressions(given.model),
            landing=lambda key, version: S3Object(given.landing, key, version), lake=S3Store(given.lake), ship=shipped(given.packages),
        )  # fmt: skip
    finally:
        spark.stop()
    for upload, how in ended.items():
        logging.getLogger("prepare").info("model %s run %s upload %s: %s", request.model, request.epoch, upload, how)


if __name__ == "__main__":
    main()
