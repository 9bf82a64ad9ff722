"""The models of this repository, as the stacks see them."""

from dataclasses import dataclass
from pathlib import Path

from infra.bundle import ROOT
from tidemill.spec import ModelSpec, load_spec


@dataclass(frozen=True)
class Model:
    """A folder `models/<name>/` and its checked spec."""

    folder: Path
    spec: ModelSpec

    @property
    def construct_id(self) -> str:
        return "".join(word.title() for word in self.spec.name.split("-"))


def load_models(folder: Path = ROOT / "models") -> tuple[Model, ...]:
    """Every model, by name. Raises SpecError naming file and key."""
    return tuple(Model(path.parent, load_spec(path)) for path in sorted(folder.glob("*/model.toml")))
