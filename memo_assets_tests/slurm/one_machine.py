"""A real Slurm cluster on this machine, in a folder of its own: for the tests, and for trying the platform out.

`python -m memo_assets_tests.slurm.one_machine start FOLDER` starts munged, slurmctld and slurmd and prints what to set;
`... stop FOLDER` ends them. It needs Debian's packages slurm-wlm and munge, and to be root where slurmd asks for it.

One node with two GPUs that are empty files, so that `gres: gpu:1` is scheduled as on a GPU node. Partitions: `gpu` (the
default), and `low`, whose tasks are preempted and queued again with 20 s of notice when `high` needs their GPUs. There is
no accounting, so `sacct` does not answer.
"""

import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo", "srun")
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

_CONF = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CryptoType=crypto/munge
# A task that is queued again waits until the credentials of its last attempt have expired: 2 minutes by default.
AuthInfo=socket={folder}/munge.socket,cred_expire=10
MpiDefault=none
GresTypes=gpu
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmdParameters=config_overrides
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
DefMemPerCPU=1000
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SlurmctldPort={controller_port}
SlurmdPort={node_port}
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=20000 Gres=gpu:2 State=UNKNOWN
PartitionName=gpu Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=5 PreemptMode=off
PartitionName=low Nodes={host} Default=NO MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Nodes={host} Default=NO MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=off
"""


class OneMachineSlurm:
    """The cluster in a folder.

    Args:
        folder: configuration, state and logs; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    @property
    def conf(self) -> Path:
        """What SLURM_CONF is to be set to."""
        return self.folder / "slurm.conf"

    @staticmethod
    def missing() -> list[str]:
        """Commands of Slurm that are not installed here."""
        return [command for command in COMMANDS if shutil.which(command, path=_PATH) is None]

    def start(self) -> None:
        """Start all daemons and wait until the node is idle.

        Raises:
            RuntimeError: a command is missing, or the node does not come up.
        """
        if missing := self.missing():
            raise RuntimeError(f"{', '.join(missing)} not found: apt-get install slurm-wlm munge")
        for name in ("spool", "state"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for number in (0, 1):
            (self.folder / f"gpu{number}").touch()
        key = self.folder / "munge.key"
        if not key.exists():
            key.write_bytes(secrets.token_bytes(1024))
            key.chmod(0o400)
            ports = _free_ports(2)
            self.conf.write_text(
                _CONF.format(
                    host=platform.node(),
                    user=_user(),
                    folder=self.folder,
                    controller_port=ports[0],
                    node_port=ports[1],
                )
            )
            lines = [f"Name=gpu File={self.folder}/gpu{number}" for number in (0, 1)]
            (self.folder / "gres.conf").write_text("\n".join(lines) + "\n")
        self._daemon(
            "munged",
            *(f"--{name}-file={self.folder}/munge{ending}" for name, ending in _MUNGE_FILES),
            f"--socket={self.folder}/munge.socket",
            "--force",
        )
        self.start_controller()
        self._daemon("slurmd", "-f", str(self.conf), "-N", platform.node())
        self.wait_for_node("idle")

    def start_controller(self) -> None:
        """Start slurmctld, which keeps its state over a restart."""
        self._daemon("slurmctld", "-f", str(self.conf))

    def stop_controller(self) -> None:
        """End slurmctld alone: running tasks go on."""
        self._end("slurmctld")

    def stop(self) -> None:
        """Cancel all jobs and end all daemons."""
        subprocess.run(
            ["scancel", "--user", _user()], env=self._environment(), check=False, capture_output=True
        )
        for daemon in ("slurmctld", "slurmd", "munge"):
            self._end(daemon)

    def wait_for_node(self, state: str) -> None:
        """Wait until the node is in a state. A step that ends while its controller is away tells it a minute later.

        Raises:
            RuntimeError: it is not within three minutes; the message holds the ends of the logs.
        """
        until = time.monotonic() + 180
        while (found := self.call("sinfo", "-h", "-p", "gpu", "-o", "%t").strip()) != state:
            if found.startswith(("down", "drain")) and state == "idle":
                self.call("scontrol", "update", f"nodename={platform.node()}", "state=resume")
            if time.monotonic() > until:
                logs = [self.folder / f"{name}.log" for name in ("munge", "slurmctld", "slurmd")]
                ends = [f"{log.name}: {log.read_text()[-600:]}" for log in logs if log.is_file()]
                raise RuntimeError(f"node is {found!r}, not {state}\n" + "\n".join(ends))
            time.sleep(0.2)

    def call(self, *command: str) -> str:
        """Output of one of Slurm's commands; what it complains of is not an error."""
        run = subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=False)
        return run.stdout

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.conf), "PATH": _PATH}

    def _daemon(self, *command: str) -> None:
        run = subprocess.run(
            command,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        if run.returncode:
            raise RuntimeError(f"{command[0]} does not start: {run.stderr.strip()}")

    def _end(self, daemon: str) -> None:
        pid_file = self.folder / f"{daemon}.pid"
        try:
            pid = int(pid_file.read_text())
            os.kill(pid, signal.SIGTERM)
        except (OSError, ValueError):
            return
        _wait(lambda: not Path(f"/proc/{pid}").exists(), 30)


_MUNGE_FILES = (("key", ".key"), ("pid", ".pid"), ("log", ".log"), ("seed", ".seed"))


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def main() -> None:
    """Start or stop the cluster of a folder."""
    if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"):
        sys.exit("usage: python -m memo_assets_tests.slurm.one_machine start|stop FOLDER")
    cluster = OneMachineSlurm(Path(sys.argv[2]))
    if sys.argv[1] == "stop":
        cluster.stop()
        return
    try:
        cluster.start()
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    print(f"export SLURM_CONF={cluster.conf} MEMO_EXECUTOR=slurm")


if __name__ == "__main__":
    main()
