"""A network that is cut off, and an S3 server that fails."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

from distributed.utils import open_port

from harness.processes import Process, until, write_config
from harness.stories import Follower
from harness.trials import Lab, NotHere, Row, Trial

HASTY = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "6s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",  # Dask takes no less than 11
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "4s",
}
LONGER = {"search__population": 4, "search__generations": 6}
SLOW = {"workload__options": {"pause_s": 0.1}}
CUTS_S = (2, 20)
"""One cut shorter than the connections' timeouts, and one longer."""
S3_DOWN_S = 8.0
AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Hosts:
    """Two network namespaces, one for the scheduler and one for workers, and a cable between them."""

    head_ip, node_ip = "10.77.0.1", "10.77.0.2"

    def __init__(self) -> None:
        self.head, self.node = (f"faults-{os.urandom(3).hex()}-{name}" for name in ("head", "node"))

    def build(self) -> None:
        for name in (self.head, self.node):
            ip("netns", "add", name)
        ip("link", "add", "cable", "netns", self.head, "type", "veth", "peer", "cable", "netns", self.node)
        for name, address in ((self.head, self.head_ip), (self.node, self.node_ip)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                ip("-n", name, "link", "set", device, "up")

    def set_cable(self, to: str) -> None:
        ip("-n", self.head, "link", "set", "cable", to)

    def remove(self) -> None:
        for name in (self.head, self.node):
            with contextlib.suppress(subprocess.CalledProcessError, FileNotFoundError):
                ip("netns", "delete", name)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def two_hosts() -> Iterator[Hosts]:
    """Create two connected network namespaces. Raises `NotHere` if that is impossible."""
    hosts = Hosts()
    try:
        try:
            hosts.build()
        except FileNotFoundError:
            raise NotHere("there is no `ip` (iproute2)") from None
        except subprocess.CalledProcessError as why:
            raise NotHere(f"no network namespaces can be made: {why.stderr.strip()}") from None
        yield hosts
    finally:
        hosts.remove()


def cut(lab: Lab, key: str) -> Trial:
    """Cut the network between a scheduler and its workers after some outcomes; restart workers that end."""
    seconds, outcomes = map(int, key.split("/"))
    with two_hosts() as hosts, lab.cluster("cut", **HASTY) as cluster:
        cluster.host = hosts.head_ip
        dask = (sys.executable, "-m", "dask")
        head, node = (("ip", "netns", "exec", name) for name in (hosts.head, hosts.node))
        command = (*head, *dask, "scheduler", *cluster.scheduler_arguments())
        cluster.start_afresh(*command, log="scheduler")

        def worker() -> Process:
            given = cluster.worker_arguments()
            given[given.index("--host") + 1] = hosts.node_ip
            return cluster.start_afresh(*node, *dask, "worker", *given, "--no-nanny", log="worker")

        workers = [worker(), worker()]
        config = write_config(cluster.directory, "run", **LONGER, **SLOW)
        until(lambda: "Scheduler at" in cluster.said("scheduler"), "the scheduler")
        given = ("launch", str(config), "--detach", "--scheduler", cluster.address)
        launched = cluster.start_afresh(*head, sys.executable, "-m", "evodevo", *given, log="launch")
        assert launched.wait() == 0, cluster.said("launch")
        run = cluster.runs / "run"
        follower = Follower(run)
        until(lambda: follower.has(outcomes), f"{outcomes} outcomes")
        hosts.set_cable("down")
        time.sleep(seconds)
        hosts.set_cable("up")
        at = time.time()

        def is_over() -> bool:
            for number, one in enumerate(workers):
                if not one.is_alive:
                    workers[number] = worker()
            return follower.has_ended()

        until(is_over, "the end of the run")
        return lab.compared(run, [at], **LONGER)


def s3(lab: Lab, key: str) -> Trial:
    """Let the server fail half of all requests, or all, or hang, for some seconds, and then recover."""
    port = open_port()
    address = f"http://127.0.0.1:{port}"
    with lab.cluster("s3", **AWS, AWS_ENDPOINT_URL=address) as cluster:
        try:
            import moto  # noqa: F401
            import s3fs  # noqa: F401
        except ImportError as why:
            raise NotHere(str(why)) from None
        mode = cluster.directory / "mode"
        mode.write_text("fine")
        command = (sys.executable, "-m", "harness.s3_server", str(port), str(mode), str(lab.seed))
        server = cluster.start_afresh(*command, log="s3")
        until(lambda: _makes_bucket(address), "the S3 server")
        store = {"checkpoints__url": "s3://checkpoints/here", "limits__max_attempts": 1}
        cluster.begin(write_config(cluster.directory, "run", **LONGER, **SLOW, **store), workers=2)
        run = cluster.runs / "run"
        follower = Follower(run)
        until(lambda: follower.has(5), "some outcomes")
        if key == "hangs":
            server.send(signal.SIGSTOP)
        else:
            mode.write_text(key)
        time.sleep(S3_DOWN_S)
        mode.write_text("fine")
        server.send(signal.SIGCONT)
        at = time.time()
        until(follower.has_ended, "the end of the run")
        return lab.compared(run, [at], **LONGER)


def _makes_bucket(address: str) -> bool:
    with contextlib.suppress(OSError):
        urllib.request.urlopen(
            urllib.request.Request(f"{address}/checkpoints", method="PUT"), timeout=10
        ).close()
        return True
    return False


ROWS = (
    Row("network", "the network cut between scheduler and workers, for 2 s and for 20 s",
        lambda lab: [f"{seconds}/{at}" for seconds in CUTS_S for at in (1, 9, 17)], cut),
    Row("s3", "an S3 server that fails half of all requests, or all, or hangs, for 8 s",
        lambda lab: ["half", "down", "hangs"], s3),
)  # fmt: skip
