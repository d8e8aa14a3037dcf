"""The start of a launch script: its flags, what its terminal can show, JAX, and then its own `main`."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from vita_jax import _early
from vita_jax import help as script_help
from vita_jax.base.memory import keep_freed_memory
from vita_jax.cli.errors import fail, guarded
from vita_jax.cli.files import find_config, load_config
from vita_jax.train import cluster
from vita_jax.train.checkpoint import leave_out_abandoned
from vita_jax.train.mesh import use_cpu_devices

SPELLED = {
  "±": "+/-",
  "×": "x",
  "·": "*",
  "µ": "u",
  "…": "...",
  "λ": "lambda",
  "π": "pi",
  "≥": ">=",
  "²": "^2",
}
CPU_DEVICES = flags.DEFINE_integer(
  "cpu_devices",
  None,
  "Split the CPU into this many devices (of each process).",
  lower_bound=1,
  upper_bound=1024,
)


def define_workdir(*, required: bool = True) -> flags.FlagHolder:
  """Defines the flag --workdir of the scripts that read or write a run."""
  return flags.DEFINE_string("workdir", None, "Folder of the run.", required=required)


def define_config() -> Any:
  """Defines the flag --config=FILE[:ARGUMENT] and its overrides --config.NAME=VALUE."""
  text = "FILE[:ARGUMENT], e.g. configs/ss_gcn/citeseer.py:partition; --explain tells what its keys mean."
  try:
    holder = config_flags.DEFINE_config_file("config", None, text)  # reads the files of --flagfile, too
  except flags.Error as error:
    fail(script_help.plain(error), 2)
  missing = "--config is missing: give --config=FILE, e.g. --config=configs/ss_gcn/citeseer.py:partition"
  flags.register_validator("config", lambda value: value is not None, missing)
  return holder


def define_cluster() -> Callable[[], None]:
  """Defines the flags of a run over several processes; returns what joins this one to the others."""
  kind = flags.DEFINE_enum(
    "cluster", "auto", cluster.KINDS, "What starts the processes; auto: see the environment."
  )
  coordinator = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, for processes by hand.")
  number = flags.DEFINE_integer("num_processes", None, "How many processes make up the run, by hand.")
  identity = flags.DEFINE_integer("process_id", None, "Which of them this one is, from 0.")
  patience = flags.DEFINE_integer(
    "join_seconds", cluster.JOIN_SECONDS, "Time for all of them to come.", lower_bound=1
  )
  watchdog = flags.DEFINE_integer(
    "watchdog_seconds",
    None,
    "Time until a silent one is lost, or a run without a step ends; default:"
    f" {cluster.WATCHDOG_SECONDS}, of a single process {cluster.ALONE_SECONDS}.",
    lower_bound=1,
  )
  busy = flags.DEFINE_integer(
    "busy_seconds",
    None,
    "Time for one piece of work without steps: a compilation, a batch of an evaluation, a save, a report;"
    f" default: {cluster.BUSY_SECONDS}, of a single process {cluster.ALONE_BUSY_SECONDS}.",
    lower_bound=1,
  )
  return lambda: cluster.join(
    cluster=kind.value,
    coordinator=coordinator.value,
    num_processes=number.value,
    process_id=identity.value,
    join_seconds=patience.value,
    watchdog_seconds=watchdog.value,
    busy_seconds=busy.value,
  )


def run(main: Callable[[], None]) -> None:
  """Parses the flags and calls `main`; a user's error ends as one line on stderr and exit code 1.

  Flags that cannot be used exit with 2, interrupted runs with 143 (SIGTERM), 129 (SIGHUP) or 130 (Ctrl-C).
  VITA_DEBUG=1 shows the traceback of an error instead.
  """

  def parse(argv):
    def show_or_parse() -> list[str]:
      script_help.show_if_asked(argv)
      return _parse(argv)

    return guarded(show_or_parse, exit_code=2)

  def start(argv):
    if len(argv) > 1:
      fail(f"unexpected argument '{argv[1]}': flags start with --", 2)

    def start_jax_and_main() -> None:
      _start_jax()
      main()
      _early.ends("")  # what remains is Python's own end

    guarded(start_jax_and_main, exit_code=1)

  spell_out()
  _early.raises()
  app.define_help_flags()
  guarded(lambda: app.run(start, flags_parser=parse), exit_code=1)


def spell_out() -> None:
  """Lets a terminal that cannot show a character, e.g. "±" in an ASCII locale, get a spelling of it."""

  def spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
      raise error
    return "".join(SPELLED.get(c, "?") for c in error.object[error.start : error.end]), error.end

  codecs.register_error("vita_jax.spelled", spelled)
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors="vita_jax.spelled")


def _parse(argv: list[str]) -> list[str]:
  """Parses the flags; the errors of absl, ml_collections and the config file become one line."""
  try:
    return flags.FLAGS(_with_config_file(argv))
  except (KeyError, AttributeError) as error:  # an override of a key that the config does not have
    inner = error.args[0] if isinstance(error.args[0], KeyError) else error
    name, _, near = str(inner.args[0]).partition("\n")
    if not name.startswith("'"):  # no name of a key: a fault of ours
      raise
    remedy = near or "--explain lists all keys with their meaning"
    raise ValueError(f"the config has no key {name}. {remedy}") from error
  except (flags.Error, OSError) as error:
    raise ValueError(script_help.plain(error)) from error


def _with_config_file(argv: list[str]) -> list[str]:
  """Returns the arguments with the path of --config as `find_config` finds it, once it is known to load.

  Those of a --flagfile are among them.
  """
  if "config" not in flags.FLAGS:
    return argv
  found = [argv[0], *flags.FLAGS.read_flags_from_files(argv[1:], force_gnu=False)]
  for i, argument in enumerate(found):
    name, equals, value = argument.partition("=")
    if name in ("--config", "-config") and (equals or i + 1 < len(found)):
      path, colon, rest = (value if equals else found[i + 1]).partition(":")
      file = find_config(path)
      load_config(file, rest if colon else None)  # ml_collections shows a fault of it as a traceback
      text = f"{file}{colon}{rest}"
      if equals:
        found[i] = f"{name}={text}"
      else:
        found[i + 1] = text
  return found


def _start_jax() -> None:
  keep_freed_memory()  # before threads have allocated
  import jax

  if not os.environ.get("VITA_DEBUG"):
    _hush()
    warnings.showwarning = _show_warning
  if CPU_DEVICES.value:
    use_cpu_devices(CPU_DEVICES.value)
  if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    folder = os.environ.get("VITA_CACHE_DIR") or Path.home() / ".cache" / "vita_jax"
    jax.config.update("jax_compilation_cache_dir", str(Path(folder) / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def _hush() -> None:
  """Leaves an error of orbax to the one line that it ends as: not its log, nor what its threads print."""
  logging.set_verbosity(logging.FATAL)
  leave_out_abandoned()


def _show_warning(message: Warning | str, *where: Any, **more: Any) -> None:
  """Shows a warning as one line, without the place in our code that it comes from."""
  text = " ".join(str(message).split())
  if found := re.match(r"Error reading persistent compilation cache entry for '(\w+)'", text):
    _drop_damaged(found[1])
    text = f"the compiled program '{found[1]}' in the cache was damaged: it is compiled again"
  print(f"warning: {text}", file=sys.stderr, flush=True)


def _drop_damaged(program: str) -> None:
  """Deletes the damaged entries of a program from JAX's cache, which would keep them for good."""
  import jax
  from jax._src import compilation_cache  # jax has no public door to the form of its entries

  folder = jax.config.jax_compilation_cache_dir or ""  # type: ignore[attr-defined]
  for path in Path(folder).glob(f"{program}-*-cache"):
    try:
      compilation_cache.decompress_executable(path.read_bytes())
    except Exception:  # zlib's or zstandard's, whichever is installed; or the door is gone
      with contextlib.suppress(OSError):
        path.unlink()
