"""What the launch scripts share: flags, the start of JAX, and errors as one line with an exit code."""

from __future__ import annotations

import codecs
import contextlib
import functools
import io
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from vita_jax import help as script_help
from vita_jax import papers, train
from vita_jax.base import keys
from vita_jax.base.choose import hint
from vita_jax.base.files import load_python_file
from vita_jax.report import suite
from vita_jax.report.summary import format_metric, join_summaries, select_seeds
from vita_jax.train import cluster
from vita_jax.train.checkpoint import leave_out_abandoned
from vita_jax.train.config import KEYS, as_dict, check_config, config_hash
from vita_jax.train.display import waiting
from vita_jax.train.finish import load_state, read_config, read_summary
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
HERE = Path(__file__).parent  # `configs` and `launch` are here, in a checkout as links, in a wheel as folders
CPU_DEVICES = flags.DEFINE_integer(
  "cpu_devices", None, "Split the CPU into this many devices (of each process).", lower_bound=1
)

# What a user can fix: shown as one line. Anything else is a bug and keeps its traceback.
FIXABLE = (train.RunError, ValueError, OSError, ImportError, flags.Error)


def define_workdir(*, required: bool = True) -> flags.FlagHolder:
  """Defines the flag --workdir of the scripts that read or write a run."""
  return flags.DEFINE_string("workdir", None, "Folder of the run.", required=required)


def define_config() -> Any:
  """Defines the flag --config=FILE[:ARGUMENT] and its overrides --config.NAME=VALUE."""
  text = "FILE[:ARGUMENT], e.g. configs/ss_gcn/citeseer.py:partition; --explain tells what its keys mean."
  return config_flags.DEFINE_config_file("config", None, text)


def find_config(path: str) -> Path:
  """Returns the config file that `path` names: as it is given, else among the configs of the package.

  `ss_gcn/citeseer.py` and `configs/ss_gcn/citeseer.py` name the same shipped file from any folder.

  Raises:
    FileNotFoundError, IsADirectoryError: there is no such file; the message names the nearest ones.
  """
  return _find(path, "config files are configs/<paper>/*.py", suites=False)


def find_suite(path: str) -> Path:
  """Returns the suite of launch/table.py that `path` names, as `find_config` does a config."""
  return _find(path, "suites are configs/<paper>/table*.py", suites=True)


def _find(path: str, known_as: str, *, suites: bool) -> Path:
  given, shipped = Path(path), HERE / "configs"
  inside = Path(*given.parts[1:]) if given.parts[:1] == ("configs",) else given
  for candidate in (given, shipped / inside):
    if candidate.is_file():
      return candidate
  for folder in (given, shipped / inside):
    if folder.is_dir():
      found = sorted(file.name for file in folder.glob("*.py"))
      names = ", ".join(name for name in found if name.startswith("table") == suites) or "none"
      raise IsADirectoryError(f"{path} is a folder: name one of its Python files ({names})")
  files = [file for file in sorted(shipped.glob("*/*.py")) if file.name.startswith("table") == suites]
  near = hint(str(inside), [file.relative_to(shipped).as_posix() for file in files])
  raise FileNotFoundError(f"cannot read {path}: {known_as}{near}")


def load_python(path: Path) -> ModuleType:
  """Imports a config or a suite by its path.

  Raises:
    ValueError: what it raises; the message names the line, unless it is a ValueError or OSError of its own.
  """
  with faults_of(path):
    return load_python_file(path)


def load_config(path: Path, argument: str | None = None) -> ConfigDict:
  """Returns what `get_config(argument)` of a config file returns.

  Raises:
    ValueError: the file has no `get_config`, returns something else, or fails; see `load_python`.
  """
  module = load_python(path)
  if not hasattr(module, "get_config"):
    if hasattr(module, "get_suite"):
      raise ValueError(f"{path} is a suite, for launch/table.py --suite={path}")
    raise ValueError(f"{path} is no config: it must define get_config(), see configs/ss_gcn/custom.py")
  with faults_of(path):
    config = module.get_config(argument) if argument is not None else module.get_config()
  if not isinstance(config, ConfigDict):
    kind = type(config).__name__
    raise ValueError(f"{path} is no config: get_config() returns {kind}, and must return a ConfigDict")
  return config


@contextlib.contextmanager
def faults_of(path: Path) -> Iterator[None]:
  """Turns an exception of a user's Python file into a ValueError of one line with its place in that file."""
  try:
    yield
  except (ValueError, OSError):  # it speaks to the user: an unknown argument, a file that is missing
    raise
  except SyntaxError as error:
    raise ValueError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
  except Exception as error:
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == str(path)]
    place = f"{path}, line {lines[-1]}" if lines else str(path)
    raise ValueError(f"{place}: {type(error).__name__}: {error}") from error


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
    "watchdog_seconds", cluster.WATCHDOG_SECONDS, "Time until a silent one is lost.", lower_bound=1
  )
  busy = flags.DEFINE_integer(
    "busy_seconds",
    cluster.BUSY_SECONDS,
    "Time for one piece of work without steps: a compilation, a batch of an evaluation, a save, a report.",
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
    script_help.show_if_asked(argv)
    return guarded(lambda: _parse(argv), exit_code=2)

  def start(argv):
    if len(argv) > 1:
      _fail(f"unexpected argument '{argv[1]}': flags start with --", 2)

    def start_jax_and_main() -> None:
      _start_jax()
      main()

    guarded(start_jax_and_main, exit_code=1)

  spell_out()
  app.define_help_flags()
  app.run(start, flags_parser=parse)


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


def guarded(action: Callable[[], Any], *, exit_code: int) -> Any:
  """Calls `action`; turns an error that a user can fix into one line and an exit code."""
  try:
    return action()
  except train.Interrupted as error:
    text = str(error) if cluster.is_main() else ""
    cluster.leave()  # together: all stop at the same step
    _fail(text, error.exit_code)
  except KeyboardInterrupt:
    _fail("interrupted: the same command goes on from what was saved", 130)
  except FIXABLE as error:
    if os.environ.get("VITA_DEBUG"):
      raise
    _fail(" ".join(str(error).split()) or type(error).__name__, exit_code)
  except Exception as error:
    if cause := cluster.lost(error):
      _fail(f"another process of this run is gone ({cause}): the same command in all of them resumes it", 1)
    if (text := out_of_memory(error)) and not os.environ.get("VITA_DEBUG"):
      _fail(text, 1)
    cluster.announce(f"{type(error).__name__}: {error}")
    raise


def out_of_memory(error: Exception) -> str:
  """Returns one line for an error of JAX or NumPy that says that memory ran out, else "".

  >>> out_of_memory(MemoryError("Unable to allocate 1.35 TiB for an array")).partition(":")[0]
  'out of memory (1.35 TiB asked for at once)'
  """
  said = str(error)
  signs = ("Out of memory", "out of memory", "RESOURCE_EXHAUSTED", "ran out of memory")
  ours = type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError") and any(x in said for x in signs)
  if not (ours or isinstance(error, MemoryError)):
    return ""
  size = re.search(r"alloc\D*?(\d[\d.,]*) ?([KMGTP]i?B?\b|bytes|B\b)", said)
  asked = f"{int(size[1]):,} bytes" if size and size[1].isdigit() and size[2] == "bytes" else ""
  asked = asked or (f"{size[1]} {size[2]}" if size else "")
  return (
    f"out of memory{f' ({asked} asked for at once)' if asked else ''}: launch/train.py --dry_run tells what a"
    " run needs; fewer seeds (--config.seeds), a smaller width or a smaller batch need less"
  )


def finished(config: Any, folder: Path) -> dict[str, Any] | None:
  """Returns the summary in a folder, if it is of a complete run of this config; reads no data."""
  found = read_summary(folder)
  same = found and found["complete"] and found["config_hash"] == config_hash(as_dict(config))
  return found if same else None


def trained(config: Any, folder: Path, *, quiet: bool = False) -> dict[str, Any]:
  """Returns the summary of a config: trained in a folder, resumed there, or read where it is finished."""
  return finished(config, folder) or train.run(build(config), config, folder, quiet=quiet)


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


def _fail(text: str, exit_code: int) -> None:
  if text:
    print(f"error: {text}" if exit_code < 128 else text, file=sys.stderr, flush=True)
  sys.stdout.flush()
  cluster.announce(text)
  os._exit(exit_code)  # at once: after a failed write, orbax's threads print tracebacks on their way out


def _hush() -> None:
  """Leaves an error of orbax to the one line that it ends as: not its log, nor what its threads print."""
  logging.set_verbosity(logging.FATAL)
  leave_out_abandoned()


def _show_warning(message: Warning | str, *where: Any, **more: Any) -> None:
  """Shows a warning as one line, without the place in our code that it comes from."""
  print(f"warning: {message}", file=sys.stderr, flush=True)


def _start_jax() -> None:
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


def build(config: Any) -> train.Experiment:
  """Builds the experiment of a config, replicated when `config.seeds` asks for several."""
  check_config(config)
  with waiting("preparing data and model", quiet=not cluster.is_main()):
    experiment = papers.build(config)
  return train.replicate(experiment, config.seeds, config.replicate) if config.seeds > 1 else experiment


def explain(config: Any) -> str:
  """Returns every key of a config with its value, what it may be, and what it means, as a text table."""
  return keys.explain(config, KEYS, papers.keys(config.paper))


def finished_run(workdir: str) -> tuple[train.Experiment, Any, Any, Any]:
  """Loads (experiment, config, state, programs) of the run in a workdir, from its newest good checkpoint."""
  config = read_config(Path(workdir))
  experiment = build(config)
  warn = functools.partial(print, file=sys.stderr)
  state, programs = load_state(experiment, config, Path(workdir), warn=warn)
  return experiment, config, state, programs


def exported(workdir: str, seed: int | None) -> tuple[train.Exported, int]:
  """Returns what the run in a workdir exports for one seed (default: its first), and that seed.

  Raises:
    ValueError: the run does not have that seed, or its experiment exports only weights.
  """
  experiment, config, state, _ = finished_run(workdir)
  seed = config.seed if seed is None else seed
  if not 0 <= seed - config.seed < config.seeds:
    last = config.seed + config.seeds - 1
    raise ValueError(f"--seed={seed} is not in this run: it has {config.seed} to {last}")
  single = papers.build(config)
  if single.export is None:
    raise ValueError(f"the experiment in {workdir} has no program to export, only weights (export/)")
  one = train.replica(state, seed - config.seed) if experiment.replicas else state
  return single.export(one), seed


def print_summary(summary: dict[str, Any], workdir: str) -> None:
  """Prints the final numbers of a run, and where they were written; the main process only."""
  if cluster.is_main():
    print_metrics(summary)
    print(f"written: {workdir}/summary.json, metrics.jsonl, figures/, export/, checkpoints/, tensorboard/")


def print_metrics(summary: dict[str, Any]) -> None:
  """Prints the final numbers as a small table; a mean of whole numbers has one digit after the point."""
  seeds, seconds = len(summary["seeds"]), summary["seconds"]
  print(f"complete: {summary['experiment']}, {seeds} seed(s), {seconds:.1f} s of training")
  width = max(map(len, summary["metrics"]), default=0)
  for name, entry in summary["metrics"].items():
    percent = name.endswith(("accuracy", "accuracy_low", "accuracy_high"))
    whole = not percent and all(value is None or value == int(value) for value in entry["values"])
    digits = (1 if len(entry["values"]) > 1 else 0) if whole else None
    print(f"  {name:<{width}}  {format_metric(entry, percent=percent, digits=digits)}")


def row_config(row: suite.Row, seeds: int | None) -> Any:
  """Returns the resolved config of a row.

  Raises:
    ValueError: an override that the config does not have.
  """
  path, _, argument = row.config.partition(":")
  config = load_config(find_config(path), argument or None)
  try:
    config.update_from_flattened_dict(dict(row.overrides))
  except (KeyError, AttributeError) as error:
    raise ValueError(f"row '{row.label}': {error}") from error
  if seeds is not None:
    config.seeds = seeds
  return config


def run_row(
  row: suite.Row, workdir: Path, *, seeds: int | None = None, split: int = 0, quiet: bool = False
) -> dict[str, Any]:
  """Runs the seeds of a row that are not there yet, and returns the summary of all that are asked for.

  A row's first run is in its folder, or with `split` in runs of so many seeds each in `<row>/seed_<first>`;
  seeds that are added later are there, too. Replicated by `map`, a seed has the same numbers in any
  company; by `vmap` sums may be rounded otherwise, which moves an accuracy by a row or two.
  """
  config, folder = row_config(row, seeds), workdir / row.folder
  wanted = list(range(config.seed, config.seed + config.seeds))
  parts = _stored_parts(config, folder)
  if not parts and not 0 < split < len(wanted):
    return trained(config, folder, quiet=quiet)
  parts += _new_parts(sorted(set(wanted) - {seed for _, some in parts for seed in some}), folder, split)
  found: dict[int, dict[str, Any]] = {}
  for place, some in parts:
    if set(wanted) & (set(some) - found.keys()):
      part = config.copy_and_resolve_references()
      part.update(seed=some[0], seeds=len(some))
      summary = trained(part, place, quiet=quiet)
      if list(some) == wanted:
        return summary
      found |= {seed: select_seeds(summary, [seed]) for seed in some if seed not in found}
  return join_summaries([found[seed] for seed in wanted])


def _stored_parts(config: Any, folder: Path) -> list[tuple[Path, range]]:
  """The folders that hold a run of this config, finished or not, and its seeds."""

  def kind(config: Any) -> str:
    return config_hash({k: v for k, v in as_dict(config).items() if k not in ("seed", "seeds")})

  found = []
  for place in (folder, *sorted(folder.glob("seed_*"))):
    if (place / "config.json").exists():
      stored = read_config(place)
      if kind(stored) == kind(config):
        found.append((place, range(stored.seed, stored.seed + stored.seeds)))
      elif place == folder:
        trained(config, folder)  # is refused, and says which settings the run there has
  return found


def _new_parts(seeds: Sequence[int], folder: Path, split: int) -> list[tuple[Path, range]]:
  """Folders for seeds that no run has: consecutive ones together, `split` at a time if it is given."""
  found: list[tuple[Path, range]] = []
  for seed in seeds:
    if found and found[-1][1].stop == seed and not 0 < split <= len(found[-1][1]):
      found[-1] = (found[-1][0], range(found[-1][1].start, seed + 1))
    else:
      found.append((folder / f"seed_{seed}", range(seed, seed + 1)))
  return found
