"""The spec a run was claimed with: read from the lake by the hash of the model's folder."""

from tidemill import keys
from tidemill.ports import Store
from tidemill.spec import ModelSpec, parse_spec


def pinned_spec(model: str, code_hash: str, lake: Store) -> ModelSpec:
    text = lake.get(f"{keys.code_prefix(model, code_hash)}{model}/model.toml").decode()
    return parse_spec(text, f"models/{model}/model.toml")
