"""SQS in localcloud's time: delays, visibility and retention follow the clock. One seam of moto: the two functions its queues ask."""

from moto.sqs import models as moto_sqs

from localcloud.clock import Clock


def install(clock: Clock) -> None:
    moto_sqs.unix_time = clock.now
    moto_sqs.unix_time_millis = lambda: clock.now() * 1000
