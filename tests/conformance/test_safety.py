"""What localcloud promises about the machine it runs on."""

import socket

import psutil
import pytest

from localcloud.cloud import LocalCloud, PortTaken


def listening(pids: list[int]) -> dict[int, set[str]]:
    """Addresses that processes listen on."""
    found: dict[int, set[str]] = {}
    for pid in pids:
        addresses = {c.laddr.ip for c in psutil.Process(pid).net_connections("inet") if c.status == psutil.CONN_LISTEN}
        if addresses:
            found[pid] = addresses
    return found


def test_nothing_listens_anywhere_but_on_this_machine(account):
    account.invoke(account.function("def handler(event, context):\n    return 1\n"))
    me = psutil.Process()
    heard = listening([me.pid, *(child.pid for child in me.children(recursive=True))])
    assert me.pid in heard
    assert set().union(*heard.values()) == {"127.0.0.1"}


def test_a_taken_port_is_said_at_once(account):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} of 127.0.0.1 is taken: stop what listens there, or choose another port"):
            LocalCloud(account.cloud._config, port).start()
