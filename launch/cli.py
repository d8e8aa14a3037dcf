"""What the launch scripts share: flags, the start of JAX, and errors as one line with an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from vita_jax import papers, train
from vita_jax.train.finish import load_state, read_config
from vita_jax.train.mesh import use_cpu_devices

CPU_DEVICES = flags.DEFINE_integer("cpu_devices", None, "Split the CPU into this many devices.")

# What a user can mend: shown as one line. Anything else is a bug and keeps its traceback.
MENDABLE = (train.RunError, ValueError, OSError, ImportError, AttributeError, KeyError, flags.Error)


def define_workdir() -> flags.FlagHolder:
  """The flag --workdir of the scripts that read or write a run."""
  return flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)


def define_config() -> Any:
  """The flag --config=FILE[:ARGUMENT] and its overrides --config.NAME=VALUE."""
  return config_flags.DEFINE_config_file("config", None, "Config file, e.g. configs/ss_gcn/citeseer.py:partition.")


def run(main: Callable[[], None]) -> None:
  """Parses the flags and calls `main`; a user's error ends as one line on stderr and exit code 1.

  VITA_DEBUG=1 shows the traceback instead. Interrupted runs exit with 143 (SIGTERM) or 130 (Ctrl-C).
  """

  def parse(argv):
    return guarded(lambda: flags.FLAGS(argv), exit_code=2)

  def start(argv):
    if len(argv) > 1:
      _fail(f"unexpected argument '{argv[1]}': flags start with --", 2)
    guarded(lambda: (_start_jax(), main()), exit_code=1)

  app.define_help_flags()
  app.run(start, flags_parser=parse)


def guarded(action: Callable[[], Any], *, exit_code: int) -> Any:
  """Calls `action`; turns an error that a user can mend into one line and an exit code."""
  try:
    return action()
  except train.Interrupted as error:
    _fail(str(error), error.exit_code)
  except MENDABLE as error:
    if os.environ.get("VITA_DEBUG"):
      raise
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    _fail(" ".join(text.split()) or type(error).__name__, exit_code)


def _fail(text: str, exit_code: int) -> None:
  print(f"error: {text}" if exit_code < 128 else text, file=sys.stderr, flush=True)
  sys.stdout.flush()
  raise SystemExit(exit_code)


def _start_jax() -> None:
  import jax

  logging.set_verbosity(logging.WARNING)  # absl's app turns on INFO, and orbax tells a lot
  if CPU_DEVICES.value:
    use_cpu_devices(CPU_DEVICES.value)
  folder = os.environ.get("VITA_CACHE_DIR") or Path.home() / ".cache" / "vita_jax"
  jax.config.update("jax_compilation_cache_dir", str(Path(folder) / "xla"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def build(config: Any) -> train.Experiment:
  """The experiment of a config, replicated when `config.seeds` asks for several."""
  experiment = papers.build(config)
  return train.replicate(experiment, config.seeds, config.replicate) if config.seeds > 1 else experiment


def finished_run(workdir: str) -> tuple[train.Experiment, Any, Any, Any]:
  """(experiment, config, state, programs) of the run in a workdir, from its newest good checkpoint."""
  config = read_config(Path(workdir))
  experiment = build(config)
  state, programs = load_state(experiment, config, Path(workdir), warn=lambda text: print(text, file=sys.stderr))
  return experiment, config, state, programs


def exported(workdir: str, seed: int | None) -> tuple[train.Exported, int]:
  """What the run in a workdir exports for one seed (default: its first), and that seed.

  Raises:
    ValueError: the run does not have that seed, or its experiment exports only weights.
  """
  experiment, config, state, _ = finished_run(workdir)
  seed = config.seed if seed is None else seed
  if not 0 <= seed - config.seed < config.seeds:
    raise ValueError(f"--seed={seed} is not in this run: it has {config.seed} to {config.seed + config.seeds - 1}")
  single = papers.build(config)
  if single.export is None:
    raise ValueError(f"the experiment in {workdir} has no program to export, only weights (export/)")
  one = train.replica(state, seed - config.seed) if experiment.replicas else state
  return single.export(one), seed
