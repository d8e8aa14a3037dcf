"""The folder of a run: held by one process at a time, and by one config for good."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vita_jax.base.files import write_json
from vita_jax.train import checkpoint, cluster
from vita_jax.train.config import config_difference, config_hash, versions
from vita_jax.train.errors import RunError
from vita_jax.train.finish import read_config


@contextlib.contextmanager
def claim(workdir: Path, config: dict[str, Any]) -> Iterator[None]:
  """Holds the workdir for this process and this config; writes config.json the first time.

  Raises:
    RunError: it cannot be written, another process runs there, or the run of another config is there.
  """
  with contextlib.ExitStack() as stack:
    cluster.on_main(lambda: _hold(workdir, config, stack))
    yield


def _hold(workdir: Path, config: dict[str, Any], stack: contextlib.ExitStack) -> None:
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    lock = stack.enter_context((workdir / ".lock").open("w"))
  except OSError as error:
    raise RunError(
      f"cannot write to --workdir={workdir} ({error.strerror}): give a folder that you can write to"
    ) from error
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    raise RunError(f"another process is running in {workdir}: wait for it, or use another") from error
  written, saved = workdir / "config.json", workdir / "checkpoints"
  # A config.json that was lost does not make the checkpoints those of any config.
  found = read_config(workdir).to_dict() if written.exists() else checkpoint.saved_config(saved)
  started = checkpoint.good_steps(saved) or (workdir / "summary.json").exists()
  if found is not None and started and config_hash(found) != config_hash(config):
    names = ", ".join(config_difference(found, config)[:4])
    raise RunError(
      f"{workdir} holds the run of another config (they differ in {names}): use another --workdir"
    )
  if not (started and written.exists()):  # nothing was saved yet: the config may still be changed
    facts = {"config": config, "config_hash": config_hash(config), "versions": versions()}
    write_json(written, facts)
