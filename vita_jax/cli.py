"""What the launch scripts share: flags, the start of JAX, and errors as one line with an exit code."""

from __future__ import annotations

import codecs
import functools
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from vita_jax import help as script_help
from vita_jax import papers, train
from vita_jax.base import keys
from vita_jax.base.choose import hint
from vita_jax.base.files import load_python_file
from vita_jax.report import suite
from vita_jax.report.summary import format_metric, join_summaries, select_seeds
from vita_jax.train import cluster
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
  "cpu_devices", None, "Split the CPU into this many devices (of each process)."
)

# What a user can fix: shown as one line. Anything else is a bug and keeps its traceback.
FIXABLE = (train.RunError, ValueError, OSError, ImportError, flags.Error)


def define_workdir(*, required: bool = True) -> flags.FlagHolder:
  """Defines the flag --workdir of the scripts that read or write a run."""
  return flags.DEFINE_string("workdir", None, "Folder of the run.", required=required)


def define_config() -> Any:
  """Defines the flag --config=FILE[:ARGUMENT] and its overrides --config.NAME=VALUE."""
  text = "FILE[:ARGUMENT], e.g. configs/ss_gcn/citeseer.py:partition; --explain tells what its keys mean."
  holder = config_flags.DEFINE_config_file("config", None, text)
  # A file that cannot be read raises at its first use: let that be while the flags are parsed.
  flags.register_validator("config", lambda config: config is None or hasattr(config, "keys"))
  return holder


def find_config(path: str) -> Path:
  """Returns the Python file that `path` names: as it is given, else among the configs of the package.

  `ss_gcn/citeseer.py` and `configs/ss_gcn/citeseer.py` name the same shipped file from any folder.

  Raises:
    FileNotFoundError, IsADirectoryError: there is no such file; the message names the nearest ones.
  """
  given, shipped = Path(path), HERE / "configs"
  inside = Path(*given.parts[1:]) if given.parts[:1] == ("configs",) else given
  for candidate in (given, shipped / inside):
    if candidate.is_file():
      return candidate
  for folder in (given, shipped / inside):
    if folder.is_dir():
      names = ", ".join(sorted(file.name for file in folder.glob("*.py"))) or "none"
      raise IsADirectoryError(f"{path} is a folder: name one of its Python files ({names})")
  known = [file.relative_to(shipped).as_posix() for file in sorted(shipped.glob("*/*.py"))]
  near = hint(str(inside), known)
  raise FileNotFoundError(f"cannot read {path}: config files are configs/<paper>/*.py{near}")


def define_cluster() -> Callable[[], None]:
  """Defines the flags of a run over several processes; returns what joins this one to the others."""
  kind = flags.DEFINE_enum(
    "cluster", "auto", cluster.KINDS, "What starts the processes; auto: see the environment."
  )
  coordinator = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, for processes by hand.")
  number = flags.DEFINE_integer("num_processes", None, "How many processes make up the run, by hand.")
  identity = flags.DEFINE_integer("process_id", None, "Which of them this one is, from 0.")
  patience = flags.DEFINE_integer("join_seconds", cluster.JOIN_SECONDS, "Time for all of them to come.")
  watchdog = flags.DEFINE_integer(
    "watchdog_seconds", cluster.WATCHDOG_SECONDS, "Time until a silent one is lost."
  )
  return lambda: cluster.join(
    cluster=kind.value,
    coordinator=coordinator.value,
    num_processes=number.value,
    process_id=identity.value,
    join_seconds=patience.value,
    watchdog_seconds=watchdog.value,
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
    cluster.announce(f"{type(error).__name__}: {error}")
    raise


def finished(config: Any, folder: Path) -> dict[str, Any] | None:
  """Returns the summary in a folder, if it is of a complete run of this config; reads no data."""
  found = read_summary(folder)
  same = found and found["complete"] and found["config_hash"] == config_hash(as_dict(config))
  return found if same else None


def trained(config: Any, folder: Path, *, quiet: bool = False) -> dict[str, Any]:
  """Returns the summary of a config: trained in a folder, resumed there, or read where it is finished."""
  return finished(config, folder) or train.run(build(config), config, folder, quiet=quiet)


def _parse(argv: list[str]) -> list[str]:
  """Parses the flags; errors of absl and ml_collections, some with a traceback inside, become one line."""
  try:
    return flags.FLAGS(_with_config_file(argv))
  except (KeyError, AttributeError) as error:  # an override of a key that the config does not have
    inner = error.args[0] if isinstance(error.args[0], KeyError) else error
    name, _, near = str(inner.args[0]).partition("\n")
    if not name.startswith("'"):  # a fault inside the config file
      raise
    remedy = near or "Its keys are in the config file and in vita_jax/train/config.py"
    raise ValueError(f"the config has no key {name}. {remedy}") from error
  except (flags.Error, OSError) as error:
    text = str(error)
    if required := re.search(r"(--\w+ is missing: .*)", text):
      raise ValueError(required[1]) from error
    if unset := re.search(r"Flag (--\w+) must have a value other than None", text):
      raise ValueError(f"{unset[1]} is missing: give {unset[1]}=VALUE (--help lists all flags)") from error
    if "Traceback" in text:  # of get_config: only what it says is the user's concern
      raise ValueError(text.strip().splitlines()[-1].partition(": ")[2]) from error
    raise


def _with_config_file(argv: list[str]) -> list[str]:
  """Returns the arguments with the path of --config as `find_config` finds it."""
  if "config" not in flags.FLAGS:
    return argv
  found = list(argv)
  for i, argument in enumerate(found):
    name, equals, value = argument.partition("=")
    if name in ("--config", "-config") and (equals or i + 1 < len(found)):
      path, colon, rest = (value if equals else found[i + 1]).partition(":")
      text = f"{find_config(path)}{colon}{rest}"
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

  def hook(unraisable):
    # After a failed write orbax closes its event loop under tensorstore, whose threads then say so.
    if str(unraisable.exc_value) != "Event loop is closed":
      sys.__unraisablehook__(unraisable)

  sys.unraisablehook = hook


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
  """Prints the final numbers as a small table, and where they were written; the main process only."""
  if not cluster.is_main():
    return
  seeds, seconds = len(summary["seeds"]), summary["seconds"]
  print(f"complete: {summary['experiment']}, {seeds} seed(s), {seconds:.1f} s of training")
  width = max(map(len, summary["metrics"]), default=0)
  for name, entry in summary["metrics"].items():
    percent = name.endswith(("accuracy", "accuracy_low", "accuracy_high"))
    print(f"  {name:<{width}}  {format_metric(entry, percent=percent)}")
  print(f"written: {workdir}/summary.json, metrics.jsonl, figures/, export/, checkpoints/, tensorboard/")


def row_config(row: suite.Row, seeds: int | None) -> Any:
  """Returns the resolved config of a row.

  Raises:
    ValueError: an override that the config does not have.
  """
  path, _, argument = row.config.partition(":")
  get_config = load_python_file(find_config(path)).get_config
  config = get_config(argument) if argument else get_config()
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
