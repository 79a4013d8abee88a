"""Where and how the GPU-bound steps run: changes no result, so it makes nothing stale."""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from memo_assets.config.base import Config

GpuStep = Literal["base_model", "audit", "adapters", "logits", "layer_scores", "answer_variation"]

_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_SECRET = re.compile(r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|API_KEY|ACCESS_KEY)$", re.IGNORECASE)
# What the platform itself decides; a second value would contradict it.
_RESERVED_FLAGS = (
    "array",
    "error",
    "job_name",
    "open_mode",
    "output",
    "requeue",
    "signal",
    "wait",
    "wrap",
)


class Slurm(Config):
    """What Slurm is asked for. Every field left out is left to a file of the site's, else to the cluster."""

    partition: str | None = Field(default=None, description="Partition, or several separated by commas.")
    account: str | None = Field(default=None, description="Account that is charged.")
    qos: str | None = Field(default=None, description="Quality of service.")
    constraint: str | None = Field(default=None, description="Features the node must have, such as a100.")
    gres: str | None = Field(default=None, description="Generic resources of one task, such as gpu:1.")
    cpus: int | None = Field(
        default=None, ge=1, description="CPU cores of one task; by default as many as compute.threads."
    )
    memory: str | None = Field(
        default=None, pattern=r"^\d+[KMGT]?$", description="Memory of one task on its node, such as 40G."
    )
    time: str | None = Field(default=None, description="Time limit of one task, such as 20:00:00, in quotes.")
    parallel: int | None = Field(
        default=None, ge=1, description="Tasks of one array that may run at the same time; by default all."
    )
    requeues: int | None = Field(
        default=None,
        ge=0,
        description="How often a task stopped by its time limit or preempted is queued again; 10 by default.",
    )
    notice_seconds: int | None = Field(
        default=None,
        ge=1,
        description="Seconds before the time limit at which a task saves its state; 120 by default. Slurm may send the "
        "signal up to a minute earlier.",
    )
    setup: list[str] | None = Field(
        default=None, description="Shell commands before the worker, such as `module load cuda`."
    )
    environment: dict[str, str] | None = Field(
        default=None, description="Environment variables of the worker, such as HF_HOME."
    )
    python: str | None = Field(
        default=None, description="Command that starts Python on the node; by default the one running here."
    )
    srun: list[str] | None = Field(default=None, description="Further arguments of srun.")
    sbatch: dict[str, str | int | bool] | None = Field(
        default=None,
        description="Further flags of sbatch by name, such as hint: nomultithread; true: no value.",
    )

    @field_validator("time")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        if value is not None:
            time_limit_seconds(value)
        return value

    @field_validator("environment")
    @classmethod
    def _is_a_variable(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for name in value or {}:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"{name!r} is not a name of an environment variable")
            if _SECRET.search(name):
                raise ValueError(
                    f"{name} names a secret, which batch scripts, work items and reports would keep: set it in the environment "
                    "that submits, which Slurm hands on, or log in with `hf auth login`"
                )
        return value

    @field_validator("sbatch")
    @classmethod
    def _is_a_flag(cls, value: dict[str, str | int | bool] | None) -> dict[str, str | int | bool] | None:
        own = {"partition", "account", "qos", "constraint", "gres", "time"}
        for name, given in (value or {}).items():
            plain = name.replace("-", "_")
            if plain in _RESERVED_FLAGS:
                raise ValueError(f"--{name} is set by the platform itself: remove it")
            if plain in own | {"cpus_per_task", "mem"}:
                field = {"cpus_per_task": "cpus", "mem": "memory"}.get(plain, plain)
                raise ValueError(f"--{name} has a field of its own: give it as {field}")
            if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
                raise ValueError(f"{name!r} is not a flag of sbatch: give its long name without the dashes")
            if given is False:
                raise ValueError(f"--{name}: false means nothing to sbatch: leave the flag out")
        return value

    @model_validator(mode="after")
    def _no_line_breaks(self) -> "Slurm":
        for name, value in self:
            texts = (
                value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
            )
            if name != "setup" and any("\n" in text for text in texts if isinstance(text, str)):
                raise ValueError(f"{name} holds a line break, which would end its line of the batch script")
        return self


def time_limit_seconds(text: str) -> int:
    """Seconds of a time limit as sbatch writes it: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S.

    Raises:
        ValueError: it is none of these, or no time at all.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(
            f"given {text!r}; expected a time limit such as 90 (minutes), 20:00:00 or 2-12:00:00"
        )
    days, first, second, third = (None if part is None else int(part) for part in match.groups())
    assert first is not None
    if days is not None:
        seconds = ((days * 24 + first) * 60 + (second or 0)) * 60 + (third or 0)
    elif third is not None:
        seconds = (first * 60 + (second or 0)) * 60 + third
    else:
        seconds = first * 60 + (second or 0)
    if not seconds:
        raise ValueError(f"given {text!r}, which is no time at all")
    return seconds


class Compute(Config):
    """Where and how the GPU-bound steps run. Changes no result, so it makes nothing stale."""

    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU if there is one.")
    pack: int = Field(
        default=16, ge=1, description="Split seeds trained together in one worker process, or one Slurm task."
    )
    workers: int = Field(default=2, ge=1, description="Worker processes side by side on this machine.")
    threads: int = Field(default=1, ge=1, description="CPU threads of one worker process.")
    slurm: Slurm = Field(default=Slurm(), description="What Slurm is asked for, where it computes.")
    slurm_by_asset: dict[GpuStep, Slurm] = Field(
        default={}, description="By asset, what differs there from `slurm`."
    )
