"""Single flight, proven at length: the machine of the unit test with many more and longer stories."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.test_single_flight import CALM, SingleFlight

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def test_nothing_is_lost_and_nothing_runs_twice_at_length():
    run_state_machine_as_test(SingleFlight, settings=settings(CALM, max_examples=80, stateful_step_count=60, derandomize=True))
