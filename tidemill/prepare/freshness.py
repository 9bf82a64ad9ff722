"""A file that brings nothing new enough is refused: an export that stopped moving must not go unnoticed."""

from datetime import datetime, timedelta

from tidemill.errors import UploadRefused
from tidemill.prepare.profile import Profile
from tidemill.spec import ModelSpec

UNITS = {"d": "days", "h": "hours"}


def refuse_stale(profile: Profile, spec: ModelSpec, received_at: str) -> None:
    """Raises UploadRefused when the newest row is older, at the time of the upload, than `data.freshness` allows."""
    newest = profile.columns[str(spec.time)].max
    allowed = spec.data.freshness
    if newest is None or allowed is None:
        return
    age = datetime.fromisoformat(received_at) - datetime.fromisoformat(str(newest))
    if age > timedelta(**{UNITS[allowed[-1]]: int(allowed[:-1])}):
        raise UploadRefused(f"the newest row is of {newest}, {age.days:,} days before the upload; data.freshness allows {allowed}")
