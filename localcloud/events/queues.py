"""SQS in localcloud's time, one step at a time. Seams of moto: the two functions its queues ask for the time, and the backend's methods.

moto walks through a queue's messages while other requests change them: a receive then fails, or gives a message twice.
"""

import threading
from collections.abc import Callable
from typing import Any

from moto.sqs import models as moto_sqs
from moto.sqs.models import SQSBackend

from localcloud.clock import Clock

ALONE = ("change_message_visibility", "change_message_visibility_batch", "delete_message", "delete_message_batch", "purge_queue", "send_message")
LOOK_AGAIN_S = 1
_own = {name: getattr(SQSBackend, name) for name in (*ALONE, "receive_message")}
_lock = threading.RLock()


def install(clock: Clock) -> None:
    moto_sqs.unix_time = clock.now
    moto_sqs.unix_time_millis = lambda: clock.now() * 1000
    for name in ALONE:
        setattr(SQSBackend, name, _alone(_own[name]))

    def receive(backend: SQSBackend, queue_name: str, count: int, wait_seconds_timeout: int, *arguments: Any, **more: Any) -> Any:
        """A long poll waits between its looks, so that others can send meanwhile."""
        ends = clock.now() + wait_seconds_timeout
        look = _alone(_own["receive_message"])
        while not (found := look(backend, queue_name, count, 0, *arguments, **more)) and clock.now() < ends:
            backend.get_queue(queue_name).wait_for_messages(LOOK_AGAIN_S)
        return found

    SQSBackend.receive_message = receive


def _alone(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **more: Any) -> Any:
        with _lock:
            return method(*arguments, **more)

    return call
