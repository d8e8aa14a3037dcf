"""Damages every file of a checkpoint in turn: is anything but the saved state ever restored?

  python tests/faults/damage.py --flips=16

Each file of the newest of two checkpoints is truncated, zeroed, removed and has single bits flipped. Allowed
are: the saved state, bit for bit; or a warning that names the checkpoint, and the state of the one before.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from laws.table import ROWS  # noqa: E402

from vita_jax import train  # noqa: E402
from vita_jax.train import checkpoint  # noqa: E402
from vita_jax.train.digest import digests  # noqa: E402
from vita_jax.train.mesh import make_mesh  # noqa: E402
from vita_jax.train.programs import make_programs  # noqa: E402


def damages(flips: int) -> Iterator[tuple[str, Callable[[Path], None]]]:
  """(name, damage) of one file."""

  def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)

  yield "truncated", lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  yield "emptied", lambda path: path.write_bytes(b"")
  yield "zeroed", lambda path: path.write_bytes(bytes(path.stat().st_size))
  yield "removed", lambda path: path.unlink()
  for _ in range(flips):
    yield "bit flipped", flip


def outcome(directory: Path, programs, expected: dict[int, dict[str, str]]) -> str:
  """What a restore makes of a damaged directory."""
  warnings: list[str] = []
  try:
    state, progress = checkpoint.restore(directory, programs.abstract, warn=warnings.append)
  except train.RunError as error:
    return f"refused ({str(error)[:60]})"
  if digests(checkpoint.flatten(state)) != expected[progress.step]:
    return "WRONG STATE"
  if progress.step == max(expected):
    return "restored exactly"
  named = any(f"checkpoint {max(expected)} " in text and "damaged" in text for text in warnings)
  return "named, the one before restored" if named else "SILENT FALL BACK"


def main(*, flips: int, rows: tuple[str, ...] = ("ss_gcn_partition", "digits_stream")) -> Counter:
  """Returns {(damage, outcome): count}; prints each outcome that is not allowed."""
  random.seed(0)
  counts: Counter = Counter()
  with tempfile.TemporaryDirectory() as name:
    for row in rows:
      folder = Path(name) / row
      folder.mkdir()
      config = ROWS[row].config(folder)
      experiment = ROWS[row].build(config)
      programs = make_programs(experiment, make_mesh(config.mesh), on_nonfinite="stop")
      state = programs.init(programs.place(np.uint32(0)))
      expected = {}
      with checkpoint.open_manager(folder / "run", keep=2) as manager:
        for step in (1, 2):
          state = programs.enter(experiment.stages[0], state) if step == 1 else state
          progress = checkpoint.Progress(0, step, step, 0.0)
          changed = {**state, "params": _scaled(state["params"], 1 / step)}
          expected[step] = digests(checkpoint.flatten(changed))
          checkpoint.save(manager, progress, changed, experiment.params(changed), run={})
          checkpoint.finish(manager)
      newest = folder / "run" / "checkpoints" / "2"
      for file in sorted(p for p in newest.rglob("*") if p.is_file()):
        for damage, apply in damages(flips):
          if not file.stat().st_size and damage != "removed":
            continue
          copy = folder / "copy"
          shutil.copytree(folder / "run", copy)
          apply(copy / file.relative_to(folder / "run"))
          found = outcome(copy / "checkpoints", programs, expected)
          counts[damage, found] += 1
          if found.isupper() or found.startswith("refused"):
            print(f"{row} {file.relative_to(newest)} {damage}: {found}", flush=True)
          shutil.rmtree(copy)
  return counts


def _scaled(tree, factor):
  import jax

  return jax.tree.map(lambda x: (x * factor).astype(x.dtype), tree)


if __name__ == "__main__":
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--flips", type=int, default=16)
  found = main(flips=parser.parse_args().flips)
  for (damage, what), count in sorted(found.items()):
    print(f"{count:>5}  {damage}: {what}")
  print(f"{sum(found.values()):>5}  in all")
  sys.exit(1 if any(what.isupper() or what.startswith("refused") for _, what in found) else 0)
