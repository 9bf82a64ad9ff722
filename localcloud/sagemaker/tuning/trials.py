"""The training jobs of one tuning job: started while there is room, watched, counted, compared, stopped."""

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from localcloud.errors import ServiceError
from localcloud.sagemaker.container import Job
from localcloud.sagemaker.tuning.early import Course, Judge
from localcloud.sagemaker.tuning.search import Search, Tried

log = logging.getLogger("localcloud")

BARREN = 5
"""Training jobs without an objective, after which AWS gives up. Known from its message, no page has it."""
IMPROVEMENT = 0.01
"""Less than that is none: API_BestObjectiveNotImproving.html"""
LEAST = 1e-12
"""An improvement on a best value of 0."""
NO_OBJECTIVE = (
    "No objective metrics found after running {number} training jobs. Please ensure that the custom algorithm is emitting the objective metric as "
    "defined by the regular expression provided."
)
ALL_FAILED = "All training jobs failed. Please take a look at the training jobs failures to get more details."
INTERNAL = "InternalServerError"
COUNTED = {"Completed": "Completed", "InProgress": "InProgress", "Stopping": "InProgress", "Stopped": "Stopped"}
"""TrainingJobStatus → its counter; a failure's depends on its reason."""


class Launch(Protocol):
    """Begins a training job with these hyperparameters under the name `job`. Raises ServiceError."""

    def __call__(self, job: str, hyperparameters: dict[str, str], *, watch: Callable[[str, float], None], ended: Callable[[], None]) -> Job: ...


@dataclass(frozen=True)
class Plan:
    """What a tuning job was asked for. `metric` is the objective; `sign` makes greater better; None for a criterion that was not given."""

    name: str
    metric: str
    sign: int
    most: int
    parallel: int
    target: float | None
    patience: int | None


@dataclass
class Trial:
    """A training job of a tuning job, and what it wrote of the objective."""

    tuned: dict[str, str]
    values: list[float] = field(default_factory=list)
    job: Job | None = None
    condemned: bool = False

    @property
    def status(self) -> str:
        return self.job.status if self.job else "InProgress"

    @property
    def running(self) -> bool:
        return self.status in ("InProgress", "Stopping")

    @property
    def objective(self) -> float | None:
        """The last value, of a job that has ended and did not fail."""
        return self.values[-1] if self.values and self.status in ("Completed", "Stopped") else None


class Trials:
    """Runs the training jobs of one tuning job. `stop` ends it early, `run` returns when all have ended."""

    def __init__(self, plan: Plan, search: Search, judge: Judge, launch: Launch, halt: Callable[[Job], bool]) -> None:
        self._plan, self._search, self._judge, self._launch, self._halt = plan, search, judge, launch, halt
        self._trials: list[Trial] = []
        self._change = threading.Condition()
        self._stopping = False

    @property
    def all(self) -> list[Trial]:
        """In the order they were started, those only that have a training job."""
        return [trial for trial in list(self._trials) if trial.job]

    def run(self) -> str | None:
        """Until all training jobs have ended; the FailureReason of the tuning job, if it failed."""
        reason = self._start_all()
        with self._change:
            self._change.wait_for(lambda: reason or self._satisfied() or not self._busy())
        if reason or self._satisfied():
            self.stop()
        with self._change:
            self._change.wait_for(lambda: not self._busy())
        return reason or self._fruitless()

    def stop(self) -> None:
        """Start no more, and stop those that run."""
        with self._change:
            self._stopping = True
            self._change.notify_all()
        for trial in self.all:
            if trial.job and trial.running:
                self._halt(trial.job)

    def counters(self) -> dict[str, dict[str, int]]:
        jobs = dict.fromkeys(("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0)
        objectives = dict.fromkeys(("Succeeded", "Pending", "Failed"), 0)
        for trial in self.all:
            jobs[_counter(trial)] += 1
            objectives[objective_status(trial)] += 1
        return {"TrainingJobStatusCounters": jobs, "ObjectiveStatusCounters": objectives}

    def best(self) -> Trial | None:
        found = [trial for trial in self.all if trial.objective is not None]
        return max(found, key=lambda trial: self._plan.sign * (trial.objective or 0.0), default=None)

    def not_improving(self) -> int:
        """Training jobs since the last that was better than those before it by 1 %, in the order they were started."""
        best, since = None, 0
        for value in [trial.objective for trial in self.all if trial.objective is not None]:
            if best is None or self._plan.sign * (value - best) >= max(IMPROVEMENT * abs(best), LEAST):
                best, since = value, 0
            else:
                since += 1
        return since

    def _start_all(self) -> str | None:
        """Start training jobs while there is room for more; why that failed, if it did."""
        try:
            while self._await_room():
                self._start()
        except ServiceError as error:
            return f"ClientError: {error}"
        except Exception as error:
            log.exception("tuning job %s failed inside localcloud", self._plan.name)
            return f"{INTERNAL}: {type(error).__name__}: {error}"
        return None

    def _await_room(self) -> bool:
        """Waits until one more may be started; False when none will be."""
        with self._change:
            self._change.wait_for(lambda: self._over() or self._room())
            return not self._over()

    def _over(self) -> bool:
        return self._stopping or len(self._trials) >= self._plan.most or self._satisfied() or (self._barren() and not self._busy())

    def _room(self) -> bool:
        return not self._barren() and sum(trial.running for trial in self._trials) < self._plan.parallel

    def _busy(self) -> bool:
        return any(trial.running for trial in self.all)

    def _satisfied(self) -> bool:
        """Whether a completion criterion is met."""
        best, plan = self.best(), self._plan
        if plan.target is not None and best and best.objective is not None and plan.sign * (best.objective - plan.target) >= 0:
            return True
        return plan.patience is not None and self.not_improving() >= plan.patience

    def _barren(self) -> bool:
        """Whether enough jobs have ended, and none had an objective."""
        return sum(not trial.running for trial in self.all) >= BARREN and self.best() is None

    def _fruitless(self) -> str | None:
        """Why a tuning job without a result failed; one that was stopped has none either."""
        ended = self.all
        if not ended or self.best() or self._stopping:
            return None
        return ALL_FAILED if all(trial.status == "Failed" for trial in ended) else NO_OBJECTIVE.format(number=len(ended))

    def _start(self) -> None:
        tried = [Tried(trial.tuned, None if trial.objective is None else self._plan.sign * trial.objective) for trial in self._trials]
        trial = Trial(self._search.next(tried))
        self._trials.append(trial)
        name = f"{self._plan.name}-{len(self._trials):03d}-{secrets.token_hex(4)}"
        trial.job = self._launch(name, trial.tuned, watch=lambda metric, value: self._seen(trial, metric, value), ended=self._ended)
        if self._stopping or trial.condemned:  # meanwhile
            self._halt(trial.job)

    def _seen(self, trial: Trial, metric: str, value: float) -> None:
        """One more value of a metric in a training job's log."""
        if metric != self._plan.metric:
            return
        with self._change:
            trial.values.append(value)
            others = [Course(tuple(self._signed(other.values)), other.status == "Completed") for other in self._trials if other is not trial]
            stops = self._judge(self._signed(trial.values), others)
            trial.condemned |= stops
        if stops and trial.job:
            self._halt(trial.job)

    def _signed(self, values: list[float]) -> list[float]:
        return [self._plan.sign * value for value in values]

    def _ended(self) -> None:
        with self._change:
            self._change.notify_all()


def objective_status(trial: Trial) -> str:
    if trial.running:
        return "Pending"
    return "Failed" if trial.objective is None else "Succeeded"


def _counter(trial: Trial) -> str:
    if trial.status != "Failed" or trial.job is None:
        return COUNTED[trial.status]
    return "RetryableError" if str(trial.job.described.get("FailureReason", "")).startswith(INTERNAL) else "NonRetryableError"
