"""What SageMaker moves between S3 and the disk of a job or an endpoint."""

import json
import tarfile
from pathlib import Path
from typing import Any

from localcloud.clients import Clients


def split_uri(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def download(source: dict[str, Any], target: Path, clients: Clients) -> None:
    """Bring an S3DataSource or S3Input to a folder: an S3Prefix, or the files a ManifestFile lists.

    Source: docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html
    """
    target.mkdir(parents=True, exist_ok=True)
    bucket, key = split_uri(source["S3Uri"])
    s3 = clients("s3")
    if source.get("S3DataType", "S3Prefix") == "ManifestFile":
        prefix, *names = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        bucket, base = split_uri(prefix["prefix"])
        wanted = [(base + name, name) for name in names]
    else:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        found = [item["Key"] for page in pages for item in page.get("Contents", []) if not item["Key"].endswith("/")]
        wanted = [(name, name[len(key) :].lstrip("/") or name.rpartition("/")[2]) for name in found]
    if not wanted:
        raise ValueError(f'No S3 objects found under S3 URL "{source["S3Uri"]}" given in input data source.')
    for name, relative in wanted:
        path = target / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, name, str(path))


def upload_archive(folder: Path, uri: str, clients: Clients) -> None:
    """The folder's content as a tar.gz object."""
    archive = folder.with_name(f"{folder.name}.tar.gz")
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)
    bucket, key = split_uri(uri)
    clients("s3").upload_file(str(archive), bucket, key)


def upload_folder(folder: Path, uri: str, clients: Clients) -> None:
    bucket, key = split_uri(uri)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            clients("s3").upload_file(str(path), bucket, f"{key.rstrip('/')}/{path.relative_to(folder)}")


def unpack_model(uri: str, folder: Path, clients: Clients) -> None:
    """model.tar.gz of S3 unpacked into a folder."""
    bucket, key = split_uri(uri)
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder.with_name("model.tar.gz")
    clients("s3").download_file(bucket, key, str(archive))
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()
