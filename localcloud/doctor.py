"""`localcloud doctor`: what this machine lacks to run it, and what to do about each."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from localcloud.config import ConfigError, LocalConfig, load_config

MOTO = "5.2.5"
PYTHONS = ((3, 11), (3, 13))
NODE = 20
JAVA = "17"
VERSION = re.compile(r'version "(\d+)')
FREE_MB = 500
IN_LAMBDA = ("awslambdaric", "boto3")


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `needed`: without it localcloud does not run; else something of it does not. `advice` when not ok."""

    what: str
    ok: bool
    needed: bool = True
    advice: str = ""


def examine(config_path: Path, port: int) -> Iterator[Finding]:
    """Look at everything, the most basic first."""
    here = sys.version_info[:2]
    yield Finding(f"python {here[0]}.{here[1]}", PYTHONS[0] <= here <= PYTHONS[1], advice="use python 3.11, 3.12 or 3.13")
    yield _moto()
    yield _port(port)
    free = shutil.disk_usage(tempfile.gettempdir()).free // 1024**2
    yield Finding(f"{free} MB free for code and models in {tempfile.gettempdir()}", free > FREE_MB, advice="make room, or set TMPDIR")
    try:
        config = load_config(config_path)
    except ConfigError as error:
        yield Finding(f"{config_path}", False, advice=str(error))
    else:
        yield Finding(f"{config_path}", True)
        yield from _configured(config)
    yield from _cdk(config_path.resolve().parent)


def _moto() -> Finding:
    try:
        found = version("moto")
    except PackageNotFoundError:
        return Finding("moto", False, advice=f"install moto[server]=={MOTO}")
    return Finding(f"moto {found}", found == MOTO, advice=f"install moto[server]=={MOTO}: localcloud reaches into exactly that version")


def _port(port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free = probe.connect_ex(("127.0.0.1", port)) != 0
    return Finding(f"port {port} of 127.0.0.1 is free", free, advice="stop what listens there, or start with another --port")


def _configured(config: LocalConfig) -> Iterator[Finding]:
    python = config.path(config.lambda_python)
    yield _program("lambda_python", python)
    if shutil.which(python):
        code = f"import {', '.join(IN_LAMBDA)}"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        last = done.stderr.strip().rpartition("\n")[2]
        yield Finding(f"lambda_python has {' and '.join(IN_LAMBDA)}", done.returncode == 0, advice=f"install them there: {last}")
    if config.glue is not None:
        yield from _spark(config.path(config.glue.python))
    for image in config.images:
        for word, argv in image.commands.items():
            yield _program(f"image {image.repository}, command '{word}'", config.path(argv[0]))


def _spark(python: str) -> Iterator[Finding]:
    """Only Glue jobs need these."""
    found = _program("[glue] python", python, needed=False)
    yield found
    if found.ok:
        done = subprocess.run([python, "-c", "import pyspark"], capture_output=True, text=True, check=False)
        yield Finding("[glue] python has pyspark", done.returncode == 0, needed=False, advice="install pyspark there to run Glue jobs that use it")
    java = shutil.which("java", path=f"{os.environ['JAVA_HOME']}/bin" if "JAVA_HOME" in os.environ else None)
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr if java else ""
    major = (VERSION.search(told) or ["", ""])[1]
    yield Finding(f"java{f' {major}' if major else ''}", major == JAVA, needed=False, advice=f"install Java {JAVA} to run Glue jobs on Spark")


def _program(what: str, path: str, *, needed: bool = True) -> Finding:
    return Finding(f"{what}: {path}", shutil.which(path) is not None, needed, "no such program: correct localcloud.toml, or install it")


def _cdk(folder: Path) -> Iterator[Finding]:
    """Only the CDK needs node; without it everything but `cdk` works."""
    node = shutil.which("node")
    if node is None:
        yield Finding("node", False, needed=False, advice=f"install node {NODE} or later to use the CDK CLI")
        return
    text = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = text.lstrip("v").partition(".")[0]
    yield Finding(f"node {text}", major.isdigit() and int(major) >= NODE, needed=False, advice=f"the CDK CLI wants node {NODE} or later")
    cdk = shutil.which("cdk", path=str(folder / "node_modules/.bin")) or shutil.which("cdk")
    yield Finding(f"cdk{f': {cdk}' if cdk else ''}", cdk is not None, needed=False, advice="npm ci, or npm install aws-cdk, to deploy CDK apps")
