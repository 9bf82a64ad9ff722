"""Every error Tidemill raises on purpose, in one tree: retryable or permanent.

Step Functions matches on the class name, so the names are part of the contract with the workflows.
"""


class TidemillError(Exception):
    """The root. A message says what happened, where, and what to do."""


class RetryableError(TidemillError):
    """The same call may succeed later: throttling, a service that is briefly away."""


class PermanentError(TidemillError):
    """The same call will fail again until a person or a file changes."""


class ServiceUnavailable(RetryableError):
    """An AWS service throttled the call or was away."""


class ReleaseBusy(RetryableError):
    """Another package of the same model is being released."""


class SpecError(PermanentError):
    """A model.toml breaks a rule. Names file, key, value and what is allowed."""


class UnknownModel(PermanentError):
    """No model of this name is deployed in this stage."""


class UploadRefused(PermanentError):
    """A whole file cannot be used. The message is what the uploader reads."""


class DatasetRefused(PermanentError):
    """The prepared parts do not make a dataset that can be learned from."""


class ModelCodeFailed(PermanentError):
    """The author's model.py raised, or gave what no estimator is. The message ends with the author's own lines of the traceback."""


class CheckoutRefused(PermanentError):
    """A dataset is not written here: the folder is in use, or an object is not the one its manifest names."""


class InstanceLost(PermanentError):
    """The instances of a training job did not come together."""


class EngineFailed(PermanentError):
    """XGBoost could not go on: a setting that it refuses, or another instance that is gone."""


class NotReproducible(PermanentError):
    """A run cannot be made again from its record, or not here."""


class ScoringRefused(PermanentError):
    """A prediction request breaks the model's schema."""


class TrackingFailed(PermanentError):
    """A run could not be told to an experiment tracker."""


class Superseded(PermanentError):
    """Another run owns the model now; this one must change nothing more."""


class ObjectMissing(PermanentError):
    """An S3 object (or this version of it) is not there."""


class ObjectForbidden(PermanentError):
    """An S3 object (or this version of it) may not be read: its owner, its bucket or its key says so."""


class ObjectKept(PermanentError):
    """An S3 object that had to be deleted is still there."""


class ErasureRefused(PermanentError):
    """Keys cannot be erased now, or not as they are given."""


class RecordMissing(PermanentError):
    """The ledger has no such record."""


class AlreadyRunning(PermanentError):
    """An execution of this name exists already."""


class ReleaseRefused(PermanentError):
    """A package must not go live: the record does not support it."""


class SmokeFailed(PermanentError):
    """A new endpoint does not answer the golden requests as its evaluation did."""
