"""The whole of localcloud in one object: start it, use its endpoint, stop it."""

import os
import socket
import tempfile
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from localcloud import ACCOUNT, REGION, tables
from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.config import LocalConfig
from localcloud.faults import Faults
from localcloud.processes import Processes

if TYPE_CHECKING:
    from localcloud.cloudwatch.meter import Meter
    from localcloud.front import Front, Service
    from localcloud.sagemaker.roles import Roles


class PortTaken(Exception):
    """Something else listens on the port."""


class AlreadyRunning(Exception):
    """This process has a localcloud that was not stopped: moto's state is the process's, two would share it."""


_alive = threading.Lock()


class LocalCloud:
    """A running localcloud. Use as a context manager, or call start and stop."""

    def __init__(self, config: LocalConfig, port: int = 0, folder: Path | None = None) -> None:
        self._config = config
        self._port = port
        self._own_folder = folder is None
        self._folder = folder or Path()

    def __enter__(self) -> "LocalCloud":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def folder(self) -> Path:
        """Where it keeps what it unpacks and downloads; gone when it stops."""
        return self._folder

    @property
    def running(self) -> list[int]:
        """Process ids of the functions, jobs and endpoints that run now."""
        return self._processes.running

    @property
    def endpoint(self) -> str:
        """`localhost`, not 127.0.0.1: the CDK and moto tell path-style S3 addresses by it."""
        return f"http://localhost:{self._port}"

    def start(self) -> None:
        """Listen on 127.0.0.1, with nothing in the account. Raises PortTaken, AlreadyRunning."""
        _check_free(self._port)
        if not _alive.acquire(blocking=False):
            raise AlreadyRunning("a localcloud runs in this process already: stop it first, or start the second in a process of its own")
        try:
            self._begin()
        except BaseException:
            _alive.release()
            raise

    def _begin(self) -> None:
        _settle_moto()
        _empty_moto()
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        from localcloud import instances, models, policies
        from localcloud.front import Front
        from localcloud.iam.authorizer import Authorizer
        from localcloud.iam.keys import KeyRing
        from localcloud.iam.recorder import Recorder
        from localcloud.iam.stored import Stored

        self.clock = clock = Clock()
        if self._own_folder:
            self._folder = Path(tempfile.mkdtemp(prefix="localcloud-"))
        self._processes = Processes(self._folder if self._own_folder else None)
        self.keys = KeyRing(clock.now)
        self.recorder = Recorder()
        self.stored = Stored()
        self.authorizer = Authorizer(self.keys, self.stored, self.recorder, clock.now)
        self.faults = Faults(clock, self._kill)
        models.install()
        instances.install()
        policies.install()
        front = Front(DomainDispatcherApplication(create_backend_app), self.keys, self.authorizer, self.faults)
        MotoRequestHandler.protocol_version = "HTTP/1.1"
        MotoRequestHandler.log_request = lambda *_: None
        self._server = make_server("127.0.0.1", self._port, front, threaded=True, request_handler=MotoRequestHandler)
        self._port = self._server.server_port
        os.environ["MOTO_PORT"] = str(self._port)
        self._own(front)  # all of it before the first request: what is not owned yet, moto would answer
        threading.Thread(target=self._server.serve_forever, daemon=True, name="http").start()

    def _own(self, front: "Front") -> None:
        """Make the services that localcloud answers itself, and tie them together."""
        from localcloud.builds import Builds
        from localcloud.cloudformation.service import Stacks
        from localcloud.cloudwatch.alarms import Alarms
        from localcloud.cloudwatch.meter import Meter
        from localcloud.cloudwatch.metrics import MetricStore
        from localcloud.cloudwatch.pipeline import LogMetrics, QueueMetrics
        from localcloud.cloudwatch.service import CloudWatch
        from localcloud.events import queues, topics
        from localcloud.events.bus import EventBus
        from localcloud.events.objects import ObjectEvents
        from localcloud.events.poller import QueuePollers
        from localcloud.events.rules import Rules
        from localcloud.functions.executor import Executor
        from localcloud.functions.service import Functions
        from localcloud.glue.jobs import Jobs as GlueJobs
        from localcloud.glue.runs import Runs
        from localcloud.glue.script import Scripts
        from localcloud.iam.sts import Sts
        from localcloud.logs import LogWriter
        from localcloud.sagemaker.roles import Roles
        from localcloud.stepfunctions.service import StateMachines

        clock, authorizer, processes = self.clock, self.authorizer, self._processes
        self.clients = clients = Clients(self.endpoint)
        self.logs = logs = LogWriter(clients, clock)
        self.bus = bus = EventBus(clients, clock, authorizer, self.faults)
        self.metrics = MetricStore()
        meter, alarms = Meter(self.metrics, clock), Alarms(self.metrics, clients, bus, authorizer, clock)

        def variables(role: str, session: str) -> dict[str, str]:
            return clients.environment(authorizer.assume(role, "lambda.amazonaws.com", session))

        self._executor = Executor(self._folder / "code", self._config.path(self._config.lambda_python), variables, authorizer, processes, logs, clock)
        functions = Functions(clients, self._executor, clock, authorizer, meter)
        self.stored.own["lambda"] = functions.policy
        self._machines = StateMachines(clients, bus, clock, authorizer, logs, meter)
        for service in (
            functions.service(), self._machines.service(), Stacks(clients, authorizer).service(), Rules(bus, clock).service(), Sts(authorizer).service(),
            CloudWatch(self.metrics, alarms, clock).service(), Builds(self._config, clients, bus, logs, authorizer).service(),
            GlueJobs(Runs(self._folder / "glue", Scripts(self._config, clients, authorizer, logs, processes), bus, clock), clients, clock).service(),
            *self._sagemaker(Roles(clients, authorizer, logs, meter), meter),
        ):  # fmt: skip
            front.add(service)
        front.listen("logs", "PutLogEvents", LogMetrics(self.metrics, clock))
        QueueMetrics(meter, clock)
        ObjectEvents(bus).install()
        queues.install(clock)
        tables.install()
        topics.install(authorizer)
        self._pollers = QueuePollers(functions, clock)
        self._pollers.start()

    def _sagemaker(self, roles: "Roles", meter: "Meter") -> "list[Service]":
        from localcloud.front import Service
        from localcloud.sagemaker.endpoints import Endpoints
        from localcloud.sagemaker.jobs import Jobs
        from localcloud.sagemaker.registry import Registry
        from localcloud.sagemaker.tuning.service import Tunings

        work = self._folder / "sagemaker"
        endpoints = Endpoints(work, self._config, roles, self.bus, meter, self._processes, self.clock)
        self._jobs = Jobs(work, self._config, roles, self.bus, self.logs, self._processes, self.clock)
        self._tunings = Tunings(self._jobs, self.bus, self.clock)
        owned = self._jobs.operations() | self._tunings.operations() | endpoints.operations() | Registry(self.bus, self.clock).operations()
        return [Service("sagemaker", owned), Service("sagemaker-runtime", {"InvokeEndpoint": endpoints.invoke})]

    def interrupt(self, training_job: str, away_s: float = 0.0, grace_s: float = 120.0) -> None:
        """Take the spot instances of a training job away: its container gets SIGTERM, SIGKILL after `grace_s` of real time, and starts
        anew with its checkpoints once capacity is back, `away_s` later by localcloud's clock.

        Raises ValueError unless the job has EnableManagedSpotTraining and is in SecondaryStatus Training.
        """
        from localcloud.sagemaker.container import Interruption

        self._jobs.interrupt(training_job, Interruption(away_s, grace_s))

    def _kill(self, access_key: str) -> bool:
        return self._executor.kill(access_key)

    def stop(self) -> None:
        """Stop listening and every process that was started; remove the folder if it was our own."""
        self._machines.stop_all()
        self._tunings.close()
        self._pollers.stop()
        self.clock.stop()
        self._processes.stop_all()
        self.bus.stop()
        self.logs.stop()
        self._server.shutdown()
        self._server.server_close()
        _alive.release()


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortTaken(f"port {port} of 127.0.0.1 is taken: stop what listens there, or choose another port") from error


def _empty_moto() -> None:
    """moto's backends live as long as the process: what an earlier localcloud left there goes."""
    from moto.moto_api._internal import moto_api_backend

    moto_api_backend.reset()


def _settle_moto() -> None:
    """What moto reads from the environment, set before it is imported."""
    os.environ.setdefault("MOTO_ACCOUNT_ID", ACCOUNT)
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    warnings.filterwarnings("ignore", message=r"Exception\(.*does not match an error shape")
