"""Whatever is interrupted, repeated, lost or late: every upload is settled by one run, one run at a time, and nothing waits for ever.

Hypothesis plays S3, SQS and Step Functions at their worst over the real steps: events that come twice and out of order,
ticks that are lost, functions that die before or after any call they make, executions that are stopped while a function
of theirs still runs, and that wake up long after they were buried.
"""

import functools
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from tests.fakes import MemoryLedger
from tests.samples import SPEC, folder, rows
from tests.world import T0, World
from tidemill import keys
from tidemill.errors import Superseded
from tidemill.events import Failure, iso

CONTENTS = {"small": rows(10), "middle": rows(11), "large": rows(12), "empty": ""}
SPECS = {"c0de": SPEC, "0ther": SPEC.replace("max = 400", "max = 12")}
POISON = "boats/data/poison.csv"
CRASH = st.one_of(st.none(), st.integers(1, 40))
DRAINED_WITHIN = 60


class Crash(Exception):
    """The function died."""


class Poisoned(Crash):
    """It died of the file it read."""


@dataclass
class Fuse:
    """Does something at the n-th moment before or after a call of a port."""

    left: int | None = None
    action: object = None

    def set(self, left: int | None, action) -> None:
        self.left, self.action = left, action

    def __call__(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                self.left = None
                self.action()


class Port:
    """A port whose every call may be the last thing its caller does."""

    def __init__(self, port, fuse: Fuse, poison: str | None = None) -> None:
        self._port, self._fuse, self._poison = port, fuse, poison

    def __getattr__(self, name: str):
        member = getattr(self._port, name)
        if not callable(member):
            return member

        def call(*arguments, **more):
            self._fuse()
            if arguments and arguments[0] == self._poison and name != "put_version":
                raise Poisoned
            answer = member(*arguments, **more)
            self._fuse()
            return answer

        return call


class WatchedLedger(MemoryLedger):
    """Counts how often an upload was opened, which epochs claimed it since, and which settled it."""

    def __init__(self) -> None:
        super().__init__()
        self.openings: Counter[str] = Counter()
        self.claimed_by: dict[str, set[int]] = {}
        self.settled_by: dict[str, list[int]] = {}

    def add_upload(self, upload) -> bool:
        fresh = super().add_upload(upload)
        self.openings[upload.id] += fresh and upload.open
        return fresh

    def reopen(self, upload, epoch=None) -> bool:
        again = super().reopen(upload, epoch)
        self.openings[upload.id] += again
        if again:
            self.claimed_by[upload.id] = set()
        return again

    def claim_upload(self, upload, epoch) -> bool:
        taken = super().claim_upload(upload, epoch)
        if taken:
            self.claimed_by.setdefault(upload.id, set()).add(epoch)
        return taken

    def finish_upload(self, upload, epoch) -> None:
        super().finish_upload(upload, epoch)
        if epoch not in self.settled_by.setdefault(upload.id, []):
            self.settled_by[upload.id].append(epoch)

    def state(self) -> tuple:
        return self._uploads.copy(), self._leases.copy(), self._runs.copy(), self._rules.copy(), list(self._decisions)


@dataclass
class Program:
    """Where an execution stands: claim → bins → assemble → finish → done."""

    epoch: int
    started_at: str
    at: str = "claim"
    bins: list[int] = field(default_factory=list)
    broken: bool = False
    outcome: str | None = None


@functools.cache
def prepared_lake() -> dict[str, bytes]:
    """The lake with the parts of every content under every spec: the runs of this test find them by their ids."""
    world = World()
    for number, (code, text) in enumerate(SPECS.items()):
        world.models.folders["s3://assets/boats.zip"] = folder(text)
        world.models.entries["boats"] = world.models.entries["boats"].model_copy(update={"sha256": code})
        for name, data in CONTENTS.items():
            world.upload(f"boats/data/{number}-{name}.csv", data)
        for bin_ in world.claim(number + 1)["bins"]:
            world.prepare(number + 1, bin_)
        world.finish(number + 1)
    return {key: data for key, data in world.lake.objects.items() if "/runs/" not in key}


class SingleFlight(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.world, self.fuse = World(), Fuse()
        self.memory = WatchedLedger()
        self.world.ledger = Port(self.memory, self.fuse)
        self.world.lake.objects.update(prepared_lake())
        self.world.landing = Port(self.world.landing, self.fuse, POISON)
        self.ticks = self.world.ticks.sent
        for name in ("lake", "ticks", "workflow", "models"):
            setattr(self.world, name, Port(getattr(self.world, name), self.fuse))
        self.ms, self.sequence = T0, 0
        self.events: list[dict] = []
        self.programs: dict[str, Program] = {}
        for number, (key, content) in enumerate([("a", "small"), ("b", "middle"), ("poison", "small")]):
            self.put_object(key, content, 1 + number // 2)
        self.deliver_all()
        self.tick(900)

    # S3 and its events

    @rule(key=st.sampled_from(["a", "b", "poison"]), content=st.sampled_from(list(CONTENTS)), copies=st.integers(1, 2))
    def put_object(self, key: str, content: str, copies: int) -> None:
        self.sequence += 1
        key, version, data = f"boats/data/{key}.csv", f"v{self.sequence}", CONTENTS[content]
        self.world.landing.put_version(key, version, data.encode())
        item = {"key": key, "size": len(data), "version-id": version, "etag": content, "sequencer": f"{self.sequence:x}"}
        self.events += [{"detail-type": "Object Created", "detail": {"bucket": {"name": "landing"}, "object": item}}] * copies

    @rule()
    def deliver_all(self) -> None:
        """In the wrong order."""
        while self.events:
            self.world.intake(self.events.pop(), self.later())

    @precondition(lambda self: self.events)
    @rule(data=st.data(), crash=CRASH)
    def deliver_event(self, data, crash) -> None:
        event = self.events.pop(data.draw(st.integers(0, len(self.events) - 1)))
        if not self.survives(lambda: self.world.intake(event, self.later()), crash):
            self.events.append(event)

    # ticks and time

    @precondition(lambda self: self.ticks)
    @rule(data=st.data(), crash=CRASH, lost=st.sampled_from([False, False, True]))
    def deliver_tick(self, data, crash, lost) -> None:
        tick = self.ticks.pop(data.draw(st.integers(0, len(self.ticks) - 1)))
        if not lost and not self.survives(lambda: self.tick(tick[1]), crash):
            self.ticks.append(tick)

    def tick(self, delay_s: float) -> None:
        self.later(delay_s)
        self.world.tick(self.world.now)
        self.see_executions()

    @rule(minutes=st.integers(1, 20))
    def time_passes(self, minutes) -> None:
        self.later(60 * minutes)

    @rule(code=st.sampled_from(list(SPECS)))
    def deploy(self, code) -> None:
        models = self.world.models._port
        models.folders["s3://assets/boats.zip"] = folder(SPECS[code])
        models.entries["boats"] = models.entries["boats"].model_copy(update={"sha256": code})

    # Step Functions

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), crash=CRASH, then=st.sampled_from(["retry", "fail", "stop"]))
    def advance(self, data, crash, then) -> None:
        arn = data.draw(st.sampled_from(self.alive()))
        if self.survives(lambda: self.step(arn), crash):
            return
        program = self.programs[arn]
        if then == "stop" or (then == "fail" and program.at == "finish"):
            self.end(arn)
        elif then == "fail":
            program.at, program.broken = "finish", True

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), times=st.integers(1, 4))
    def work(self, data, times) -> None:
        """Some functions of one execution in which nothing goes wrong."""
        arn = data.draw(st.sampled_from(self.alive()))
        for _ in range(times):
            if arn in self.alive():
                self.survives(lambda: self.step(arn), None)

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), moment=st.integers(1, 30), crash=CRASH, follower=st.booleans())
    def bury_alive(self, data, moment, crash, follower) -> None:
        """The execution is stopped and swept, and perhaps the next begins, while a function of it still works: it goes on."""
        arn = data.draw(st.sampled_from(self.alive()))
        after: list[tuple] = []

        def interrupt() -> None:
            self.end(arn)
            self.survives(lambda: self.sweep_for(arn), crash)
            if follower:
                self.tick(900)
                for other in self.alive():
                    self.survives(lambda other=other: self.step(other), None)
            if self.buried(arn):
                after.append(self.memory.state())

        self.fuse.set(moment, interrupt)
        self.goes_on(arn)
        self.fuse.set(None, None)
        assert after in ([], [self.memory.state()])

    @precondition(lambda self: self.zombies())
    @rule(data=st.data(), moment=st.integers(1, 30))
    def rise_while_it_is_buried(self, data, moment) -> None:
        """A function of a dead execution works in the middle of the sweep that buries it."""
        arn = data.draw(st.sampled_from(self.zombies()))
        self.fuse.set(moment, lambda: self.goes_on(arn))
        self.sweep_for(arn)
        self.fuse.set(None, None)

    @precondition(lambda self: self.alive())
    @rule(data=st.data())
    def stop(self, data) -> None:
        self.end(data.draw(st.sampled_from(self.alive())))

    @precondition(lambda self: self.zombies())
    @rule(data=st.data())
    def wake_up_late(self, data) -> None:
        """A function of a dead execution: what it writes counts only until the execution was buried."""
        arn = data.draw(st.sampled_from(self.zombies()))
        before, buried = self.memory.state(), self.buried(arn)
        self.goes_on(arn)
        if buried:
            assert self.memory.state() == before

    @precondition(lambda self: self.zombies())
    @rule(data=st.data(), crash=CRASH)
    def sweep_by_event(self, data, crash) -> None:
        arn = data.draw(st.sampled_from(self.zombies()))
        self.survives(lambda: self.sweep_for(arn), crash)

    @rule(crash=CRASH)
    def sweep_by_schedule(self, crash) -> None:
        self.survives(self.world.sweep, crash)

    # what always holds

    @invariant()
    def one_run_at_a_time(self) -> None:
        working = [arn for arn in self.alive() if self.programs[arn].at in ("bins", "assemble")]
        assert len(working) <= 1
        assert working in ([], [self.memory.lease("boats").owner])

    @invariant()
    def an_upload_is_settled_once_an_opening_by_growing_epochs(self) -> None:
        for upload, epochs in self.memory.settled_by.items():
            assert len(epochs) <= self.memory.openings[upload]
            assert epochs == sorted(epochs)

    # and in the end

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for _ in range(DRAINED_WITHIN):
            if not self.drain():
                break
        else:
            raise AssertionError(f"still not at rest: {self.memory.open_uploads('boats')}, {self.memory.lease('boats')}")
        self.everything_is_settled()
        self.put_object("last", "small", 1)
        while self.drain():
            pass
        assert self.memory.uploads("boats")[-1].state == "prepared"

    def drain(self) -> bool:
        """A quarter of an hour in which nothing goes wrong but what poison does; False when there was nothing to do."""
        self.deliver_all()
        self.later(900)
        swept = self.world.sweep()[0].outcome
        while self.ticks:
            self.tick(self.ticks.pop()[1])
        busy = self.alive()
        for arn in busy:
            while self.programs[arn].at != "done":
                self.survives(lambda arn=arn: self.step(arn), None)
        return bool(busy) or swept != "idle"

    def everything_is_settled(self) -> None:
        uploads, lease = self.memory.uploads("boats"), self.memory.lease("boats")
        assert len(uploads) == self.sequence
        assert lease.owner is None
        parked = {entry.inputs["upload"] for entry in self.memory.decisions("boats") if entry.decision == "park"}
        for upload in uploads:
            assert upload.state in ("prepared", "refused", "parked")
            assert upload.attempts >= len(self.memory.claimed_by[upload.id])
            if upload.state == "parked":
                assert upload.attempts >= 3
                assert upload.id in parked
                continue
            assert upload.key != POISON
            assert len(self.memory.settled_by[upload.id]) == self.memory.openings[upload.id]
            assert upload.id in self.memory.run("boats", upload.epoch).uploads
        runs = self.memory.runs("boats")
        assert [run.epoch for run in runs] == list(range(1, lease.epoch + 1))
        assert all(run.outcome for run in runs)

    # the parts of it

    def buried(self, arn: str) -> bool:
        lease = self.memory.lease("boats")
        return lease.owner != arn and self.programs[arn].epoch <= lease.epoch

    def goes_on(self, arn: str) -> None:
        """The next function of an execution that nobody listens to."""
        with suppress(Crash, Superseded):
            self.step(arn)

    def survives(self, work, crash: int | None) -> bool:
        """Do it, to the end or to its crash."""

        def die() -> None:
            raise Crash

        self.fuse.set(crash, die)
        try:
            work()
        except Crash:
            return False
        finally:
            self.fuse.set(None, None)
            self.see_executions()
        return True

    def step(self, arn: str) -> None:
        """The next function of an execution; Step Functions takes Superseded for the end, and a bin's failure for later."""
        program = self.programs[arn]
        try:
            getattr(self, f"_{program.at}")(program)
        except Superseded:
            assert self.memory.lease("boats").owner != arn or not self.world.workflow.executions[arn]
            program.at = "done"
        if program.at == "done":
            self.end(arn)

    def _claim(self, program: Program) -> None:
        program.bins = self.world.claim(program.epoch)["bins"]
        program.at = "bins" if program.bins else "assemble"

    def _bins(self, program: Program) -> None:
        try:
            self.world.prepare(program.epoch, program.bins[0])
        except Poisoned:
            program.broken = True
        program.bins = program.bins[1:]
        if not program.bins:
            program.at = "finish" if program.broken else "assemble"

    def _assemble(self, program: Program) -> None:
        assembled = self.world.assemble(program.epoch)
        if not assembled["stop"]:
            self.holds_what_counts(assembled["dataset"])
        program.at, program.outcome = "finish", assembled.get("outcome", "registered")

    def holds_what_counts(self, dataset: str) -> None:
        """Of each key the newest version that is prepared, by the order in which S3 took them; all under one set of rules."""
        assert len({upload.rules for upload in self.memory.uploads("boats") if upload.state == "prepared"}) == 1
        newest: dict[str, tuple[int, str]] = {}
        for upload in self.memory.uploads("boats"):
            if upload.state == "prepared":
                newest[upload.key] = max(newest.get(upload.key, (0, "")), (int(upload.version_id[1:]), upload.part))
        manifest = json.loads(self.world.lake.get(keys.dataset_manifest("boats", dataset)))
        assert {part["id"] for part in manifest["parts"]} == {part for _, part in newest.values()}

    def _finish(self, program: Program) -> None:
        failure = Failure(state="PrepareBin", error="Lambda.Unknown", cause="killed") if program.broken else None
        self.world.finish(program.epoch, program.outcome, failure, program.started_at)
        program.at = "done"

    def sweep_for(self, arn: str) -> None:
        self.world.sweep(executionArn=arn, status="ABORTED", input=json.dumps({"model": "boats", "epoch": self.programs[arn].epoch}))

    def end(self, arn: str) -> None:
        self.world.workflow.executions[arn] = False

    def see_executions(self) -> None:
        for arn in self.world.workflow.executions:
            self.programs.setdefault(arn, Program(int(arn.rpartition("-")[2]), self.world.now))

    def alive(self) -> list[str]:
        return [arn for arn, program in self.programs.items() if self.world.workflow.executions[arn] and program.at != "done"]

    def zombies(self) -> list[str]:
        return [arn for arn, program in self.programs.items() if not self.world.workflow.executions[arn] and program.at != "done"]

    def later(self, seconds: float = 0.001) -> int:
        self.ms += round(seconds * 1000)
        self.world.now = iso(self.ms)
        return self.ms


CALM = settings(deadline=None, suppress_health_check=list(HealthCheck))


def test_nothing_is_lost_and_nothing_runs_twice():
    run_state_machine_as_test(SingleFlight, settings=settings(CALM, max_examples=20, stateful_step_count=30))
