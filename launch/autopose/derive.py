"""Prints the best networks that a search has found, with their costs, and draws them.

  python launch/autopose/derive.py --workdir=runs/autopose/search
  python launch/autopose/derive.py --workdir=runs/autopose/search --top=5 --out=networks --format=svg

Each network becomes OUT/genotype_<rank>.json, which `launch/train.py --config=...:retrain:FILE` takes, and a
drawing OUT/genotype_<rank>.png or .svg; rank 0 is the best. --workdir is the folder of a finished search, or
with --file one genotype or a list of them is drawn. Of several seeds --seed_number chooses one, 0 the first.
Multiply-adds and parameters are those at the widths of the search.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

from absl import flags

from vita_jax import cli
from vita_jax.base.files import write_bytes, write_text
from vita_jax.search.branches import Genotype, draw_genotype, read_genotypes, to_json

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished search.")
FILE = flags.DEFINE_string("file", None, "A genotype's file, or a list of them, in place of --workdir.")
NUMBER = flags.DEFINE_integer("seed_number", 0, "Which of the run's seeds.", lower_bound=0)
TOP = flags.DEFINE_integer("top", 5, "How many networks.", lower_bound=1)
OUT = flags.DEFINE_string("out", None, "Folder to write; default: `derived` in the workdir.")
FORMAT = flags.DEFINE_enum("format", "png", ["png", "svg"], "Of the drawings.")


def main() -> None:
  path = _file()
  found = read_genotypes(str(path))[: TOP.value]
  out = Path(OUT.value).expanduser() if OUT.value else path.parent / "derived"
  out.mkdir(parents=True, exist_ok=True)
  print("rank  score   M multiply-adds  parameters  stages  cells by branch")
  for rank, genotype in enumerate(found):
    facts = genotype.facts
    network = genotype.network
    print(
      f"{rank:4d}  {_shown(facts, 'score', '.4f'):6s}  {_shown(facts, 'macs', '.1f', 1e6):>15s}"
      f"  {_shown(facts, 'parameters', ',d'):>10s}  {int(network.live.sum()):6d}"
      f"  {network.cells.sum(0).tolist()}"
    )
    write_text(out / f"genotype_{rank}.json", json.dumps(to_json(genotype), indent=1) + "\n")
    write_bytes(out / f"genotype_{rank}.{FORMAT.value}", drawing(genotype, rank))
  print(f"{out}: {len(found)} networks, each with a drawing")


def drawing(genotype: Genotype, rank: int) -> bytes:
  """Draws a genotype in the format that was asked for."""
  content = io.BytesIO()
  score = _shown(genotype.facts, "score", ".3f")
  draw_genotype(genotype, title=f"rank {rank}, score {score}").savefig(content, format=FORMAT.value, dpi=120)
  return content.getvalue()


def _shown(facts, name: str, form: str, unit: float = 1) -> str:
  value = facts.get(name)
  return "unknown" if value is None else format(value if unit == 1 else value / unit, form)


def _file() -> Path:
  if (WORKDIR.value is None) == (FILE.value is None):
    raise ValueError("give one of --workdir, the folder of a finished search, and --file, a genotype's file")
  if FILE.value:
    path = Path(FILE.value).expanduser()
    if not path.is_file():
      raise FileNotFoundError(f"no file {path}: --file takes a genotype, or candidates.json of a search")
    return path
  folder = Path(WORKDIR.value).expanduser()
  if not folder.is_dir():
    raise FileNotFoundError(f"no folder {folder}: --workdir takes that of a finished search")
  names = [f"candidates_{NUMBER.value}.json", *(["candidates.json"] if not NUMBER.value else [])]
  path = next((folder / name for name in names if (folder / name).is_file()), None)
  if path is None:
    raise FileNotFoundError(
      f"no {names[-1]} in {folder}: give a finished run of configs/autopose/*.py:search, or of another"
      " search, with that many seeds"
    )
  return path


if __name__ == "__main__":
  cli.run(main)
