"""`localcloud.toml`: which interpreters run Lambdas and Glue jobs, and which local commands stand for a container image."""

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError


class ConfigError(Exception):
    """localcloud.toml is missing or wrong; the message names file and key."""


class Image(BaseModel):
    """Commands that stand for an image: the container's command word → the argv to run here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str
    commands: dict[str, list[str]]
    environment: dict[str, str] = {}


class Builds(BaseModel):
    """The CodeBuild environment variables that say which repository and tag a build pushes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository_variable: str = "IMAGE_REPOSITORY_URI"
    tag_variable: str = "IMAGE_TAG"


class Glue(BaseModel):
    """The interpreter that runs Glue jobs; it should hold pyspark."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: str


class LocalConfig(BaseModel):
    """The file's content. Paths in it are relative to the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path
    lambda_python: str
    images: tuple[Image, ...] = ()
    builds: Builds = Builds()
    glue: Glue | None = None

    def image(self, uri: str) -> Image:
        """The image that stands for `<registry>/<repository>[:tag|@digest]`. Raises ConfigError when none is configured."""
        repository = uri.partition("/")[2].partition("@")[0].partition(":")[0]
        for image in self.images:
            if fnmatchcase(repository, image.repository):
                return image
        raise ConfigError(f"{self.root / 'localcloud.toml'}: no [[images]] entry matches the repository '{repository}'")

    def path(self, value: str) -> str:
        """A path relative to the file made absolute; anything else stays as it is."""
        return str(self.root / value) if value.startswith(("./", "../")) or value == "." else value


def load_config(path: Path) -> LocalConfig:
    """Read localcloud.toml. Raises ConfigError naming file and key."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return LocalConfig.model_validate(values | {"root": path.resolve().parent})
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: not found; run localcloud where localcloud.toml lies, or name it with --config") from error
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
