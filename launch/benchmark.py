"""Measures speed and memory, as ratios with CPU seconds beside the clock: python launch/benchmark.py WHAT

  python launch/benchmark.py l2o --repeats=3 --seconds=2      # shorter
  python launch/benchmark.py ss_gcn --graph=cora

WHAT is one of the list below. What is compared takes turns in one process tree, so that a busy machine slows
both sides; medians over --repeats. Peers come with the extra [bench]. --graph=cora or pubmed and
--images=mnist need VITA_DATA_DIR. A flag that WHAT does not have is refused.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from importlib import import_module
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from vita_jax import help as script_help

PARTS = Path(__file__).parent / "benchmarks"


def parts() -> dict[str, Path]:
  """Returns what can be measured and its file, whose `main` takes the flags that it has as arguments."""
  papers = {file.parent.name: file for file in sorted(PARTS.glob("*/compare.py"))}
  engine = {file.stem: file for file in sorted(PARTS.glob("engine/*.py"))}
  return {**papers, **engine, "gpu": PARTS / "gpu.py"}


def overview() -> str:
  """Returns the first sentence of each part's docstring, a line each."""
  width = max(map(len, parts()))
  texts = {name: ast.get_docstring(ast.parse(path.read_text())) or "" for name, path in parts().items()}
  wrap = textwrap.TextWrapper(script_help.WIDTH, subsequent_indent=" " * (width + 4))
  return "\n".join(wrap.fill(f"  {name:<{width}}  {text.splitlines()[0]}") for name, text in texts.items())


__doc__ = f"{__doc__}\n{overview()}\n"

WHAT = flags.DEFINE_enum("what", None, list(parts()), "Or first argument.")
# One that is not given leaves the default of the part's `main`.
OPTIONS = (
  flags.DEFINE_enum("graph", None, ["citeseer", "cora", "pubmed"], "Graph of ss_gcn."),
  flags.DEFINE_enum("images", None, ["mnist", "digits"], "Images of self_pu."),
  flags.DEFINE_integer("seeds", None, "Replicated seeds in ss_gcn and pcal.", lower_bound=2),
  flags.DEFINE_integer("steps", None, "Outer steps of the whole run in pcal.", lower_bound=1),
  flags.DEFINE_integer("repeats", None, "Turns of each side.", lower_bound=1),
  flags.DEFINE_float("seconds", None, "Seconds of each turn.", lower_bound=0.0),
  flags.DEFINE_list("sizes", None, "Nodes in scale, edges in shards, parameters in l2o, faces in render."),
  flags.DEFINE_list("models", None, "Sizes of BERT."),
  flags.DEFINE_integer("weights", None, "Pruned weights in bert_tickets, at most.", lower_bound=1),
  flags.DEFINE_float("gigabytes", None, "Size of the files of stream, at least 1.", lower_bound=1.0),
  flags.DEFINE_string("folder", None, "Where stream writes them, and finds them again."),
  flags.DEFINE_bool("on_cpu", None, "Let gpu run a small part on a CPU, to try the command."),
  flags.DEFINE_integer("epochs", None, "Timed epochs of each size in scale.", lower_bound=1),
)


def main(argv: list[str]) -> None:
  what = argv[1] if len(argv) == 2 and WHAT.value is None else WHAT.value
  if what not in parts() or (len(argv) > 1 and WHAT.value):
    script_help.fail(f"say what to measure, one of {', '.join(parts())}: launch/benchmark.py ss_gcn", 2)
  logging.set_verbosity(logging.WARNING)  # absl's app turns on INFO, which the loop's libraries use a lot
  # Imported when chosen: a process started by `scale` inherits the peak memory of this one.
  module = import_module(".".join(parts()[what].relative_to(PARTS.parent).with_suffix("").parts))
  wanted = given()
  known = inspect.signature(module.main).parameters
  if strange := sorted(wanted.keys() - known.keys()):
    has = ", ".join(f"--{name}" for name in known)
    script_help.fail(f"--{strange[0]} means nothing to {what}, which has {has or 'no flags'}", 2)
  try:
    module.main(**wanted)
  except (ValueError, OSError, ImportError, RuntimeError) as error:
    script_help.fail(str(error))


def given() -> dict[str, Any]:
  """Returns the flags of this script that were given, those with a list of sizes as whole numbers."""
  found = {option.name: option.value for option in OPTIONS if option.value is not None}
  if "sizes" in found:
    if wrong := [size for size in found["sizes"] if not size.isdecimal() or int(size) < 1]:
      text = f"--sizes={','.join(found['sizes'])}: '{wrong[0]}' is no whole number of at least 1"
      script_help.fail(text, 2)
    found["sizes"] = [int(size) for size in found["sizes"]]
  return found


if __name__ == "__main__":
  app.run(main, flags_parser=script_help.parse)
