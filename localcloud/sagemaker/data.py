"""What SageMaker moves between S3 and the disk of a job or an endpoint."""

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError

from localcloud import REGION
from localcloud.clients import Clients
from localcloud.errors import ServiceError

OPT_ML = "/opt/ml"
NO_OBJECTS = (
    'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket exists in the selected region ({region}), '
    'that objects exist under that S3 prefix, and that the role "{role}" has "s3:ListBucket" permissions on bucket "{bucket}".'
)


class DataError(Exception):
    """Data did not come or go; the message is the rest of a FailureReason."""


def split_uri(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def check_input(source: dict[str, Any], role: str, clients: Clients) -> None:
    """CreateTrainingJob looks, with the job's role, whether there is anything under the prefix. Raises ValidationException."""
    bucket, key = split_uri(source["S3Uri"])
    told = NO_OBJECTS.format(uri=source["S3Uri"], region=REGION, role=role, bucket=bucket)
    try:
        found = clients("s3").list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("KeyCount", 0)
    except ClientError as error:
        raise ServiceError("ValidationException", f"{told} Error message from S3: {error.response['Error'].get('Message', '')}") from error
    if not found:
        raise ServiceError("ValidationException", told)


def download(source: dict[str, Any], target: Path, clients: Clients, *, needed: bool = True) -> None:
    """Bring an S3DataSource or S3Input to a folder: an S3Prefix, or the files a ManifestFile lists. Raises DataError, also
    when there is nothing that is `needed`.

    Source: docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html
    """
    target.mkdir(parents=True, exist_ok=True)
    try:
        wanted = list(_wanted(source, clients))
        if needed and not wanted:
            raise DataError(f'Data download failed:No S3 objects found under S3 URL "{source["S3Uri"]}" given in input data source.')
        for bucket, name, relative in wanted:
            path = inside(target, relative)
            path.parent.mkdir(parents=True, exist_ok=True)
            clients("s3").download_file(bucket, name, str(path))
    except (ClientError, ValueError, KeyError) as error:
        raise DataError(f"Data download failed:{source['S3Uri']}: {error}") from error


def _wanted(source: dict[str, Any], clients: Clients) -> list[tuple[str, str, str]]:
    """(bucket, key, path in the folder) of every object."""
    bucket, key = split_uri(source["S3Uri"])
    s3 = clients("s3")
    if source.get("S3DataType", "S3Prefix") == "ManifestFile":
        prefix, *names = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        bucket, base = split_uri(prefix["prefix"])
        return [(bucket, base + name, name) for name in names]
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
    found = [item["Key"] for page in pages for item in page.get("Contents", []) if not item["Key"].endswith("/")]
    return [(bucket, name, name[len(key) :].lstrip("/") or name.rpartition("/")[2]) for name in found]


def inside(folder: Path, relative: str) -> Path:
    """A path below a folder. Raises ValueError for one that leads out of it."""
    if ".." in Path(relative).parts or Path(relative).is_absolute():
        raise ValueError(f"{relative} leads out of {folder.name}")
    return folder / relative


def local(folder: Path, path: str) -> Path:
    """A container path below /opt/ml, in the job's folder. Raises DataError."""
    try:
        if path.startswith(f"{OPT_ML}/"):
            return inside(folder, path.removeprefix(f"{OPT_ML}/"))
    except ValueError:
        pass
    raise DataError(f"LocalPath {path} is not below {OPT_ML}")


def upload_archive(folders: Sequence[Path], uri: str, clients: Clients) -> None:
    """The files of the folders as one tar.gz object; of two with one name the first. Raises DataError."""
    archive = folders[0].with_name(f"{folders[0].name}.tar.gz")
    files = {path.relative_to(folder): path for folder in reversed(folders) for path in folder.rglob("*") if not path.is_dir()}
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name, path in sorted(files.items()):
            tar.add(path, arcname=str(name))
    bucket, key = split_uri(uri)
    put(archive, bucket, key, clients)


def upload_folder(folder: Path, uri: str, clients: Clients) -> None:
    """Every file of the folder, under the prefix. Raises DataError."""
    bucket, key = split_uri(uri)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            put(path, bucket, f"{key.rstrip('/')}/{path.relative_to(folder)}", clients)


def put(path: Path, bucket: str, key: str, clients: Clients) -> None:
    """One file as one object. Raises DataError."""
    try:
        clients("s3").upload_file(str(path), bucket, key)
    except (ClientError, S3UploadFailedError) as error:
        raise DataError(f"Artifact upload failed:s3://{bucket}/{key}: {error}") from error


def unpack_model(uri: str, folder: Path, clients: Clients) -> None:
    """model.tar.gz of S3 unpacked into a folder."""
    bucket, key = split_uri(uri)
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder.with_name("model.tar.gz")
    clients("s3").download_file(bucket, key, str(archive))
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()
