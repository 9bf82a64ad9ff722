"""What several unit tests start from."""

import pytest
from hypothesis import settings

from tests.world import World

settings.register_profile("any machine", deadline=None)  # a test must not fail because others use the machine
settings.load_profile("any machine")


@pytest.fixture
def world() -> World:
    return World()
