"""moto's own reading of bucket policies is switched off: one seam of moto.

It does not know the condition operator Bool, so that the usual "TLS only" statement would deny every PutObject. The front has
evaluated the policy before moto sees the request: localcloud.iam.
"""

from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket


def install() -> None:
    FakeBucket.get_permission = lambda bucket, action, resource: PermissionResult.NEUTRAL  # moto's signature
