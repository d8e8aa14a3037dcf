"""Puts a meta-trained optimizer into the package, under vita_jax/optim/weights/NAME.

  python launch/l2o/ship.py --workdir=runs/rnnprop_cl_il --name=rnnprop-cl-il --table=runs/compare/table.csv

Writes params.safetensors (the best theta of the newest good checkpoint), config.json and card.json. --table
is what launch/l2o/optimize.py wrote for an optimizer of that label; without it the card has no evaluation.
"""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

from absl import flags

from vita_jax import cli
from vita_jax.base.files import write_json
from vita_jax.data.files_text import open_cells
from vita_jax.optim.library import SHIPPED
from vita_jax.papers.l2o.export import card
from vita_jax.train.config import config_difference
from vita_jax.train.weights import save_params

WORKDIR = cli.define_workdir()
NAME = flags.DEFINE_string("name", None, "Under which it ships, e.g. rnnprop-cl-il.", required=True)
TABLE = flags.DEFINE_string("table", None, "table.csv of launch/l2o/optimize.py.")
OUT = flags.DEFINE_string("out", str(SHIPPED), "Folder of the shipped optimizers.")


CONFIGS = cli.HERE / "configs" / "l2o"
SCRIPTS = {
  "l2o_dm": "dm",
  "rnnprop": "rnnprop",
  "l2o_scale": "scale",
  "l2o_mlp": "mlp",
  "vita_mlp": "vita_mlp",
}


def command(config: dict[str, Any], *, inner_steps: int, complete: bool) -> str:
  """Returns the command that trains it again: its config file, and a flag for each setting that differs.

  Args:
    config: of the run, plain values.
    inner_steps, complete: where it was; what was cut short is trained again so far.
  """
  script = SCRIPTS[config["optimizer"]["kind"]]
  if script == "rnnprop" and config.get("mixture", {}).get("tasks"):
    script = "rnnprop_2"
  given = runpy.run_path(str(CONFIGS / f"{script}.py"))["get_config"](config["variant"])
  given, config = json.loads(given.to_json()), json.loads(json.dumps(config))
  if not complete:
    config["inner_steps"] = inner_steps
  changed = []
  for name in config_difference(given, config):
    value = config
    for part in name.split("."):
      value = value[part]
    text = ",".join(map(str, value)) if isinstance(value, list) else value
    changed.append(f"--config.{name}={text}")
  words = [f"--config=configs/l2o/{script}.py:{config['variant']}", *changed, "--workdir=W"]
  return " ".join(["python launch/train.py", *words])


def main() -> None:
  if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", NAME.value):
    raise ValueError(f"--name={NAME.value}: small letters, digits and single hyphens, e.g. rnnprop-cl-il")
  experiment, config, state, _ = cli.finished_run(WORKDIR.value)
  if config.paper != "l2o" or config.experiment != "meta_train" or experiment.replicas:
    raise ValueError(f"{WORKDIR.value} is not a meta-training run of one seed (config.paper=l2o, seeds=1)")
  rows = []
  if TABLE.value:
    cells = open_cells(TABLE.value)
    rows = [dict(zip(cells.header, row, strict=True)) for _, row in cells.rows]
    if NAME.value not in [row["label"].partition(" ")[2] for row in rows]:
      raise ValueError(
        f"{TABLE.value} has no optimizer '{NAME.value}': run launch/l2o/optimize.py with that label"
      )
  with config.unlocked():
    config.resume_from = ""  # a path of whoever trained it
  folder = Path(OUT.value) / NAME.value
  folder.mkdir(parents=True, exist_ok=True)
  save_params(folder / "params.safetensors", state["kept"])
  write_json(folder / "config.json", {"config": config.to_dict()})
  again = command(config.to_dict(), inner_steps=int(state["inner_steps"]), complete=bool(state["over"]))
  write_json(folder / "card.json", card(NAME.value, config, state, rows, command=again))
  print(f"written: {folder}/params.safetensors, config.json, card.json")


if __name__ == "__main__":
  cli.run(main)
