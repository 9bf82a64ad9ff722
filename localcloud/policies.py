"""Bucket policies are kept and shown, but not yet evaluated: one seam of moto.

moto 5.2.5 evaluates them without knowing the condition operator Bool, so that the usual "TLS only" statement denies every
PutObject. Until localcloud evaluates permissions itself, no policy denies anything here; docs/local-vs-aws.md says so.
"""

from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket


def install() -> None:
    FakeBucket.get_permission = lambda bucket, action, resource: PermissionResult.NEUTRAL  # moto's signature
