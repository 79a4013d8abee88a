"""Where and how the GPU-bound steps run: changes no result, so it makes nothing stale."""

from typing import Literal

from pydantic import Field

from memo_assets.config.base import Config


class Compute(Config):
    """Where and how the GPU-bound steps run. Changes no result, so it makes nothing stale."""

    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU if there is one.")
    pack: int = Field(default=16, ge=1, description="Split seeds trained together in one worker process.")
    workers: int = Field(default=2, ge=1, description="Worker processes side by side on this machine.")
    threads: int = Field(default=1, ge=1, description="CPU threads of one worker process.")
