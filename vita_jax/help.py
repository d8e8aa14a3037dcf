"""The flags of a launch script: their help, and one line where they cannot be parsed."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, NoReturn

from absl import flags

from vita_jax import _early

# Whether the command `vita` runs the script: then what is said names `vita train`, not a file of a checkout.
by_name = False
FIRST = ("config", "explain", "workdir")
CLUSTER = (
  "cluster",
  "coordinator",
  "num_processes",
  "process_id",
  "join_seconds",
  "watchdog_seconds",
  "busy_seconds",
)
WIDTH = 100
# What stands for a value, by the name or the type of a flag.
VALUES = {"config": "FILE[:ARGUMENT]", "workdir": "FOLDER", "suite": "FILE", "rows": "REGEX"}
VALUES |= {"int": "N", "float": "X", "string": "TEXT", "comma separated list of strings": "A,B,..."}


def parse(argv: list[str]) -> list[str]:
  """Parses the flags, for `app.run(main, flags_parser=parse)`; --help prints `text` and exits with 0.

  Flags that cannot be used end as one line on stderr and exit code 2; VITA_DEBUG=1 shows the traceback.
  From here on a signal ends the process in one line: these scripts have no run that could be resumed.
  """
  _early.ends("stopped: run the same command again")
  show_if_asked(argv)
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    if os.environ.get("VITA_DEBUG"):
      raise
    fail(plain(error), 2)


def fail(text: str, exit_code: int = 1) -> NoReturn:
  """Prints `error: TEXT` as one line on stderr and exits; 2 is for flags that cannot be used, else 1."""
  print(f"error: {as_called(' '.join(text.split()))}", file=sys.stderr, flush=True)
  sys.exit(exit_code)


def as_called(text: str) -> str:
  """Returns a text with `launch/SCRIPT.py` as the user calls it: `vita SCRIPT` where `vita` runs it."""
  if not by_name:
    return text
  cluster = Path(__file__).parent / "launch" / "cluster"
  text = text.replace("launch/cluster/README.md", str(cluster / "README.md"))
  called = re.compile(r"(?:python )?(?<![\w/.])launch/((?:\w+/)?\w+)\.py")
  return called.sub(lambda script: f"vita {script[1].replace('/', ' ')}", text)


def plain(error: Exception) -> str:
  """Returns what an error of absl's parser says, without the name of a check for flags that are missing."""
  if required := re.search(r"(--\w+ is missing: .*)", str(error)):
    return required[1]
  if unset := re.search(r"Flag (--\w+) must have a value other than None", str(error)):
    return f"{unset[1]} is missing: give {unset[1]}=VALUE (--help lists all flags)"
  return str(error).removeprefix("ERROR:: ")


def show_if_asked(argv: list[str]) -> None:
  """Prints the help and exits with 0 if the arguments hold --help or -h."""
  if {"--help", "-help", "-h", "--helpshort"} & set(argv[1:]):
    print(as_called(text()))
    sys.stdout.flush()
    sys.exit(0)


def text() -> str:
  """Returns the help of the running script: its docstring and its flags; absl's own stay out."""
  ours = _own_flags()
  first = [name for name in FIRST if name in ours]
  cluster = [name for name in CLUSTER if name in ours]
  rest = sorted(ours.keys() - {*first, *cluster}, key=lambda name: (not _is_required(ours[name]), name))
  lines = [(sys.modules["__main__"].__doc__ or "").strip(), "", "Flags:"]
  lines += [_entry(ours[name]) for name in [*first, *rest]]
  if "config" in ours:
    lines.append(_wrapped("--config.NAME=VALUE", "Sets a key of the config, e.g. --config.seeds=10."))
  if cluster:
    lines += ["", "Of a run that hangs, and of one over several processes (launch/cluster/README.md):"]
    lines += [_entry(ours[name]) for name in cluster]
  lines.append("")
  if "config" in ours:
    lines += [
      "Each config's docstring has its command, hardware, time and the number to expect;",
      "what its keys mean, and what they may be: launch/train.py --config=FILE --explain",
    ]
  lines.append("VITA_DEBUG=1 shows the traceback of an error. All flags, those of absl included: --helpfull")
  return "\n".join(lines)


def _own_flags() -> dict[str, Any]:
  """Name -> flag of those that the script and vita_jax define."""
  modules = flags.FLAGS.flags_by_module_dict()
  foreign = {
    flag.name
    for module, found in modules.items()
    for flag in found
    if module.partition(".")[0] in ("absl", "orbax", "grain", "etils", "tensorflow_datasets", "jax", "chex")
  }
  every = {flag.name: flag for found in modules.values() for flag in found}
  return {name: flag for name, flag in every.items() if name not in foreign and "." not in name}


def _entry(flag: Any) -> str:
  kind = VALUES.get(flag.name) or VALUES.get(flag.flag_type(), "VALUE")
  shown = f"--{flag.name}" if flag.boolean else f"--{flag.name}={kind}"
  default = "" if flag.default in (None, "", False) else f" (default: {flag.default_as_str.strip(chr(39))})"
  required = " (required)" if _is_required(flag) else ""
  return _wrapped(shown, f"{' '.join((flag.help or '').split())}{default}{required}")


def _is_required(flag: Any) -> bool:
  """Whether a script does nothing without the flag; absl tells it only by the flag's checks."""
  checks = [check.message for check in flag.validators]
  return any(
    "must have a value other than None" in text or f"--{flag.name} is missing" in text for text in checks
  )


def _wrapped(name: str, meaning: str) -> str:
  indent = " " * 26
  body = textwrap.fill(meaning, WIDTH, initial_indent=indent, subsequent_indent=indent)
  head = f"  {name}"
  return f"{head:<25} {body.lstrip()}" if len(head) < 25 else f"{head}\n{body}"
