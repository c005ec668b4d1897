"""A private Slurm: three nodes that are processes of this machine, in a directory, on loopback only."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import psutil
from distributed.utils import open_port

from tests.integration.clusters import until

NODES = 3
MISSING = next((name for name in ("slurmctld", "slurmd", "munged") if not shutil.which(name)), None)

CONFIG = """\
ClusterName=evodevo
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd-%n.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
KillWait={kill_wait_s}
PropagateResourceLimits=NONE
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=DEFAULT CPUs=4 RealMemory=4000
NodeName=n[0-{last}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first_port}-{last_port}]
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9
"""


class PrivateSlurm:
    """munged, slurmctld and a slurmd per node; while they run, Slurm's commands use them."""

    def __init__(self, kill_wait_s: int = 2) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # sockets need a short path
        self._kill_wait_s = kill_wait_s

    def start(self) -> None:
        """Raises `RuntimeError` with the end of the logs if it does not start."""
        self.directory.chmod(0o755)  # munge wants that
        place, host, port = self.directory, socket.gethostname().split(".")[0], free_port_range(NODES + 1)
        for name in ("state", *(f"spool/n{node}" for node in range(NODES))):
            (place / name).mkdir(parents=True)
        (place / "munge.key").write_bytes(os.urandom(128))
        (place / "munge.key").chmod(0o400)
        (place / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        text = CONFIG.format(
            host=host, port=port, directory=place, last=NODES - 1, first_port=port + 1,
            last_port=port + NODES, kill_wait_s=self._kill_wait_s,
        )  # fmt: skip
        (place / "slurm.conf").write_text(text)
        os.environ["SLURM_CONF"] = str(place / "slurm.conf")
        self.run(
            "munged", f"--key-file={place}/munge.key", f"--socket={place}/munge.socket",
            f"--pid-file={place}/munged.pid", f"--log-file={place}/munged.log",
            f"--seed-file={place}/munged.seed",
        )  # fmt: skip
        self.run("slurmctld")
        for node in range(NODES):
            self.run("slurmd", "-N", f"n{node}")
        until(
            lambda: self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%t").split().count("idle") == NODES,
            "idle nodes",
            30,
        )

    def run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def jobs(self, *states: str) -> list[str]:
        """Return the numbers of waiting, running or ending jobs, or of those in `states`, oldest first."""
        chosen = ["-t", ",".join(states)] if states else []
        return sorted(self.run("squeue", "-h", "-p", "main", *chosen, "-o", "%i").split(), key=int)

    def stop(self) -> None:
        subprocess.run(["scancel", "--full", "-u", "root"], capture_output=True, timeout=60)
        for file in sorted(self.directory.glob("*.pid"), reverse=True):  # slurmds, slurmctld, munged
            subprocess.run(["kill", "-9", file.read_text().strip()], capture_output=True)
        conf = os.environ.pop("SLURM_CONF", None)
        for process in psutil.process_iter():  # jobs and their keepers, which have it from the daemons
            with contextlib.suppress(psutil.Error):
                if conf and process.environ().get("SLURM_CONF") == conf:
                    process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def free_port_range(count: int) -> int:
    """Return the first of `count` consecutive unused ports of 127.0.0.1."""
    while True:
        first = open_port()
        try:
            for port in range(first, first + count):
                with socket.socket() as one:
                    one.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            continue
        return first
