"""The whole of localcloud in one object: start it, use its endpoint, stop it."""

import os
import shutil
import socket
import tempfile
import threading
import warnings
from pathlib import Path

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.config import LocalConfig
from localcloud.processes import Processes


class PortTaken(Exception):
    """Something else listens on the port."""


class LocalCloud:
    """A running localcloud. Use as a context manager, or call start and stop."""

    def __init__(self, config: LocalConfig, port: int = 0, folder: Path | None = None) -> None:
        self._config = config
        self._port = port
        self._own_folder = folder is None
        self._folder = folder or Path(tempfile.mkdtemp(prefix="localcloud-"))
        self._processes = Processes()
        self.clock = Clock()

    def __enter__(self) -> "LocalCloud":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """`localhost`, not 127.0.0.1: the CDK and moto tell path-style S3 addresses by it."""
        return f"http://localhost:{self._port}"

    def start(self) -> None:
        """Listen on 127.0.0.1. Raises PortTaken."""
        _check_free(self._port)
        _settle_moto()
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        from localcloud import policies
        from localcloud.builds import Builds
        from localcloud.cloudformation.service import Stacks
        from localcloud.events.bus import EventBus
        from localcloud.events.poller import QueuePoller
        from localcloud.front import Front, Service
        from localcloud.functions.executor import Executor
        from localcloud.functions.service import Functions
        from localcloud.logs import LogWriter
        from localcloud.sagemaker.endpoints import Endpoints
        from localcloud.sagemaker.jobs import Jobs
        from localcloud.sagemaker.registry import Registry
        from localcloud.stepfunctions.service import StateMachines

        front = Front(DomainDispatcherApplication(create_backend_app))
        MotoRequestHandler.protocol_version = "HTTP/1.1"
        MotoRequestHandler.log_request = lambda *_: None
        self._server = make_server("127.0.0.1", self._port, front, threaded=True, request_handler=MotoRequestHandler)
        self._port = self._server.server_port
        os.environ["MOTO_PORT"] = str(self._port)
        threading.Thread(target=self._server.serve_forever, daemon=True, name="http").start()

        self.clients = clients = Clients(self.endpoint)
        self.logs = logs = LogWriter(clients)
        self.bus = bus = EventBus(clients, self.clock)
        bus.install()
        policies.install()
        executor = Executor(self._folder / "code", self._config.path(self._config.lambda_python), clients.environment(), self._processes, logs)
        functions = Functions(clients, executor, self.clock)
        machines = StateMachines(clients, bus, self.clock)
        work = self._folder / "sagemaker"
        jobs = Jobs(work, self._config, clients, bus, logs, self._processes)
        endpoints = Endpoints(work, self._config, clients, bus, logs, self._processes, self.clock)
        sagemaker = jobs.operations() | endpoints.operations() | Registry(bus).operations()
        front.add(functions.service())
        front.add(machines.service())
        front.add(Stacks(clients).service())
        front.add(Builds(self._config, clients, bus, logs).service())
        front.add(Service("sagemaker", sagemaker))
        front.add(Service("sagemaker-runtime", {"InvokeEndpoint": endpoints.invoke}))
        self._machines = machines
        self._poller = QueuePoller(clients, functions, self.clock)
        self._poller.start()

    def stop(self) -> None:
        """Stop listening and every process that was started; remove the folder if it was our own."""
        self._machines.stop_all()
        self._poller.stop()
        self._processes.stop_all()
        self.bus.stop()
        self.logs.stop()
        self._server.shutdown()
        self._server.server_close()
        if self._own_folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortTaken(f"port {port} of 127.0.0.1 is taken: stop what listens there, or choose another port") from error


def _settle_moto() -> None:
    """What moto reads from the environment, set before it is imported."""
    os.environ.setdefault("MOTO_ACCOUNT_ID", ACCOUNT)
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    warnings.filterwarnings("ignore", message=r"Exception\(.*does not match an error shape")
