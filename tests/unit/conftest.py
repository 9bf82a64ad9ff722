"""What several unit tests start from."""

import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

from tests.opt_ml import Tree
from tests.world import World

settings.register_profile("any machine", deadline=None)  # a test must not fail because others use the machine
settings.load_profile("any machine")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Makes trees of /opt/ml. Boosting on small data: threads only wait for each other."""
    with threadpool_limits(1):
        yield lambda *arguments, root="ml", **more: Tree(tmp_path / root, monkeypatch, *arguments, **more)
