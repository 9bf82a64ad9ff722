"""The two state machines, in Amazon States Language with JSONata, and how they become a machine of a stage."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def definition(name: str, numbers: dict[str, int]) -> str:
    """`<name>.asl.json` with its `@Name` numbers filled in, quoted or inside an expression; `${Name}` texts are CloudFormation's to substitute."""
    text = (FOLDER / f"{name}.asl.json").read_text(encoding="utf-8")
    for key, value in numbers.items():
        text = text.replace(f'"@{key}"', str(value)).replace(f"@{key}", str(value))
    machine: dict[str, Any] = json.loads(text)
    return json.dumps(machine, separators=(",", ":"), ensure_ascii=False)
