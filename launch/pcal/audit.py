"""Audits a representation from anywhere: what attackers find of private attributes, what use is left.

  python launch/pcal/audit.py --representation=Z.npz --private=rows.csv:sex,rows.csv:age \\
    --target=rows.csv:bad --workdir=runs/audit

Z is an npz with one float matrix (or one named `z`), or a CSV of numbers. A label is FILE:NAME, a column of a
CSV or an array of an npz, row for row with Z; NAME alone is looked up in Z's file and is then no part of the
representation. `number(NAME)` and `log(NAME)` make a continuous attribute, `NAME > 5` a threshold.
--split=FILE:NAME says which rows train, validate and test (those words); without it they are drawn 60/20/20.
If rows trained the encoder, give the split that it had: attackers are scored on rows it has not seen.
--groups=FILE:NAME names a column whose equal values (e.g. a person's id) stay on one side of the split.
Without it, rows that are equal or nearly so (standardised, closer than 1e-6) do; --duplicates=apart takes
each as a record of its own.

Writes audit.json, audit.md and audit.png: an empirical bound over the attackers tried, no differential
privacy.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from vita_jax import cli
from vita_jax.report.pictures import save_figure

REPRESENTATION = flags.DEFINE_string("representation", None, "npz or CSV file.", required=True)
PRIVATE = flags.DEFINE_list("private", None, "Private attributes, [FILE:]NAME each.", required=True)
TARGET = flags.DEFINE_string("target", None, "The utility label, [FILE:]NAME, of two classes.")
SPLIT = flags.DEFINE_string("split", None, "[FILE:]NAME of train / validation / test per row.")
GROUPS = flags.DEFINE_string("groups", None, "[FILE:]NAME of a column; its equal values are on one side.")
DUPLICATES = flags.DEFINE_enum(
  "duplicates", "together", ["together", "apart"], "Equal rows on one side of the split, or anywhere."
)
SEED = flags.DEFINE_integer("seed", 0, "Of the split that is drawn without --split.")
ATTACKERS = flags.DEFINE_enum("attackers", "all", ["all", "fast"], "All of them, or four.")
ATTACKER_SPLIT = flags.DEFINE_enum(
  "attacker_split", "train", ["train", "disjoint"], "Attackers learn from training rows, or others."
)
ATTACKER_ROWS = flags.DEFINE_integer(
  "attacker_rows", 0, "At most so many to train on; 0: all.", lower_bound=0
)
N_JOBS = flags.DEFINE_integer("n_jobs", 0, "Processes; 0: one a core.", lower_bound=0)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder to write to.", required=True)


def main() -> None:
  from vita_jax import audit

  path = REPRESENTATION.value
  specs = [*PRIVATE.value, *filter(None, [TARGET.value, SPLIT.value, GROUPS.value])]
  z = audit.read_matrix(path, without=specs)
  private = {}
  for spec in PRIVATE.value:
    name, values, classes = audit.read_labels(spec, path, n_rows=len(z))
    private[name] = audit.Private(values, classes)
  found = audit.audit(
    z,
    private=private,
    target=_target(len(z)),
    parts=audit.read_split(SPLIT.value, path, n_rows=len(z)) if SPLIT.value else None,
    groups=audit.read_column(GROUPS.value, path, n_rows=len(z)) if GROUPS.value else None,
    options=audit.Options(
      attackers=ATTACKERS.value,
      attacker_split=ATTACKER_SPLIT.value,
      attacker_rows=ATTACKER_ROWS.value,
      duplicates=DUPLICATES.value,
      n_jobs=N_JOBS.value,
    ),
    seed=SEED.value,
  )
  print(write(found, Path(WORKDIR.value), title=f"Audit of {path}"))


def _target(n_rows: int) -> Any:
  """Reads the utility label; None where no --target is given."""
  from vita_jax import audit

  if not TARGET.value:
    return None
  _, values, classes = audit.read_labels(TARGET.value, REPRESENTATION.value, n_rows=n_rows)
  if len(classes) != 2:
    raise ValueError(f"--target={TARGET.value} has {len(classes)} classes: two are needed, e.g. 'NAME > 0'")
  return audit.Target(values)


def write(found: dict[str, Any], workdir: Path, *, title: str) -> str:
  """Writes audit.json and audit.md, and draws audit.png; returns what to print."""
  from vita_jax import audit
  from vita_jax.base import write_text

  workdir.mkdir(parents=True, exist_ok=True)
  write_text(workdir / "audit.json", json.dumps(found, indent=1, default=_plain) + "\n")
  write_text(workdir / "audit.md", audit.markdown(found, title=title))
  written = "audit.json, audit.md"
  if save_figure(workdir / "audit.png", functools.partial(audit.figure, found)):
    written += ", audit.png"
  lines = [*audit.headlines(found), audit.CAVEAT]
  return "\n".join([*lines, f"written to {workdir}: {written}"])


def _plain(value: Any) -> Any:
  return value.item() if isinstance(value, np.generic) else str(value)


if __name__ == "__main__":
  cli.run(main)
