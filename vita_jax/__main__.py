"""The command `vita`, also `python -m vita_jax`: runs a launch script of the package by its name.

    vita train --config=ss_gcn/citeseer.py:partition --workdir=runs/par
    vita l2o optimize --help        # a paper's own scripts: PAPER SCRIPT, or PAPER/SCRIPT

Everything after the name is the script's: `vita train` is `python launch/train.py` of a checkout.
"""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

from vita_jax import __version__, _early

# In a checkout a link to launch/, in a wheel the scripts themselves.
LAUNCH = Path(__file__).parent / "launch"
NO_SCRIPTS = ("benchmarks", "cluster")
HELP = ("-h", "--help", "help")


def scripts() -> dict[str, Path]:
  """Returns name -> file of the launch scripts: `train`, ..., and a paper's own as `l2o/optimize`."""
  files = sorted([*LAUNCH.glob("*.py"), *LAUNCH.glob("*/*.py")], key=lambda path: (len(path.parts), path))
  names = {path.relative_to(LAUNCH).with_suffix("").as_posix(): path for path in files}
  return {name: path for name, path in names.items() if name.partition("/")[0] not in NO_SCRIPTS}


def overview(paper: str = "") -> str:
  """Returns how to use the command, and one line about each script, or about each of one paper's own."""
  found = {name: path for name, path in scripts().items() if name.startswith(f"{paper}/" if paper else "")}
  width = max(map(len, found))
  script = f"{paper} {'|'.join(name.partition('/')[2] for name in found)}" if paper else "SCRIPT"
  lines = [f"Usage: vita {script} [--flags]; with --help it lists the script's flags.", ""]
  for name, path in found.items():
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    lines.append(f"  {name:<{width}}  {first.partition(': ')[0].rstrip('.:')}")
  return "\n".join(lines)


def main() -> None:
  """Runs the script that the first argument (or the first two) names, with the rest as its arguments."""
  _early.install()
  arguments = sys.argv[1:]
  if not arguments or arguments[0] in HELP:
    print(overview())
    return
  if arguments[0] == "--version":
    print(f"vita_jax {__version__}")
    return
  found = scripts()
  name, rest = arguments[0], arguments[1:]
  if any(other.startswith(f"{name}/") for other in found):
    if not rest or rest[0] in HELP:
      print(overview(name))
      return
    name, rest = f"{name}/{rest[0]}", rest[1:]
  if name not in found:
    from vita_jax.base.choose import hint  # imports jax: only where it is needed

    sys.exit(f"error: no script '{name}'{hint(name, found)}: choose one of {', '.join(found)}")
  from vita_jax import help as script_help

  script_help.by_name = True
  sys.argv = [str(found[name]), *rest]
  # As `python FILE` does: a script may import what lies beside it.
  sys.path.insert(0, str(found[name].parent))
  runpy.run_path(str(found[name]), run_name="__main__")


if __name__ == "__main__":
  main()
