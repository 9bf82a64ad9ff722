"""What moto made and nobody holds any more is let go. One seam of moto.

Its models remember every instance for its reset, copies too: each query would keep a copy of what it found, for ever.
"""

from typing import Any

from moto.core.common_models import BaseModel

FILES = "moto.s3.models"
"""Its instances stay known: the reset closes their files."""


def install() -> None:
    def make(cls: Any, *_: Any, **__: Any) -> Any:
        instance = object.__new__(cls)
        if cls.__module__ == FILES:
            cls.instances_tracked.append(instance)
        return instance

    BaseModel.__new__ = make
