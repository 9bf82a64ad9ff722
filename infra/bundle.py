"""The Lambda layers, built by uv from the locks: `light` (tidemill, pydantic, powertools) and `frames` (polars).

`ensure` does nothing when a layer is up to date, so that a synth touches the network only after a lock changed.
"""

import compileall
import fcntl
import hashlib
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

from infra.settings import Stage, glue_stage, stage

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "layers"
LAYERS = ("light", "frames")
LEFT_OUT = ("cli", "model")
UNUSED = ("**/tests", "**/*.pyi", "numpy/distutils", "numpy/f2py")
"""What no function imports: code and layers together may unpack to 250 MB (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""
PLATFORMS = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}


def ensure(stage: Stage) -> None:
    """Build the layers of a stage's architecture and python that are missing or out of date. Of two synths at once one waits."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for layer in LAYERS:
            folder, digest = folder_of(layer, stage), _digest(layer, stage)
            marker = folder.with_name(f"{folder.name}.digest")
            if not (folder.exists() and marker.exists() and marker.read_text() == digest):
                _build(layer, stage, folder)
                marker.write_text(digest)


def folder_of(layer: str, stage: Stage) -> Path:
    return BUILD / f"{layer}-{stage.architecture}-py{stage.python.replace('.', '')}"


def _digest(layer: str, stage: Stage) -> str:
    """Hash of the layer's lock and, for light, of our own sources."""
    files = [ROOT / "requirements" / f"{layer}.txt", ROOT / "requirements" / "light.txt", Path(__file__)]
    files += _sources() if layer == "light" else []
    seen = hashlib.sha256(f"{stage.architecture} {stage.python}".encode())
    for path in files:
        seen.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return seen.hexdigest()


def _sources() -> list[Path]:
    found = (p for kind in ("*.py", "*.html") for p in (ROOT / "tidemill").rglob(kind))
    return sorted(p for p in found if p.relative_to(ROOT / "tidemill").parts[0] not in LEFT_OUT)


def _build(layer: str, stage: Stage, folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    target = partial / "python"
    target.mkdir(parents=True)
    wanted = partial / "requirements.txt"
    wanted.write_text(_requirements(layer))
    command = [
        sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:",
        "--python-platform", PLATFORMS[stage.architecture], "--python-version", stage.python, "--target", str(target), "-r", str(wanted),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    wanted.unlink()
    (target / ".lock").unlink(missing_ok=True)
    shutil.rmtree(target / "bin", ignore_errors=True)
    _trim(target)
    if layer == "light":
        for path in _sources():
            copy = target / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    _compile(target, stage)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _trim(target: Path) -> None:
    for pattern in UNUSED:
        for path in sorted(target.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _requirements(layer: str) -> str:
    """The layer's lock, without what the light layer holds already."""
    blocks = _blocks(ROOT / "requirements" / f"{layer}.txt")
    if layer != "light":
        light = {block.partition("==")[0] for block in _blocks(ROOT / "requirements" / "light.txt")}
        blocks = [block for block in blocks if block.partition("==")[0] not in light]
    return "\n".join(blocks) + "\n"


def _blocks(lock: Path) -> list[str]:
    """A lock's entries: `name==version \\` and the indented hash lines below it."""
    blocks: list[str] = []
    for line in lock.read_text().splitlines():
        if line.startswith("    --hash"):
            blocks[-1] += f"\n{line}"
        elif line and not line.lstrip().startswith("#"):
            blocks.append(line)
    return [block.removesuffix(" \\") for block in blocks]


def _compile(target: Path, stage: Stage) -> None:
    """Byte-compile, reproducibly, for the target's python where that interpreter is at hand."""
    if stage.python == f"{sys.version_info.major}.{sys.version_info.minor}":
        compileall.compile_dir(target, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, stripdir=str(target), workers=2)
    elif interpreter := shutil.which(f"python{stage.python}"):
        flags = ["-q", "-j", "2", "--invalidation-mode", "unchecked-hash", "-s", str(target)]
        subprocess.run([interpreter, "-m", "compileall", *flags, str(target)], check=False, capture_output=True)


if __name__ == "__main__":
    ensure(stage("local"))
    ensure(glue_stage(stage("local")))
