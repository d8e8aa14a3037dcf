"""Attacks a trained SS-GCN run, of any host: how much accuracy is left when a few links are flipped.

  python launch/ss_gcn/attack.py --workdir=runs/par --attack=nettack --flip=both --budget=1,2,5 --targets=200
  python launch/ss_gcn/attack.py --workdir=runs/par --attack=pr_bcd --budget=2,5 --targets=200

The network stays as it was trained (evasion); a defence (config.defence) is done anew on each attacked graph.
What the attacker knows is part of each number:

  nettack        the graph and a linear surrogate trained by itself (transfer); links, features, or both
  pr_bcd         the network, through its gradients (adaptive); links of one target at a time
  gr_bcd         the same; one perturbed graph for all targets, where the budget is in percent of the links
  random, dice   nothing, or labels; links
  fgsm_features  the network, through one gradient step; features

A budget of n is n links, and 10 n features, of each target; it may exceed a target's degree, since links
are added as well. A target without a label is attacked for what the network predicts, and the CSV says so.
A target without links can only gain some; nettack and dice leave each node a link, and `disconnected` counts
nodes that others leave without. Weighted graphs are refused, and for features those that are not 0 or 1.

Writes to WORKDIR/attacks/ATTACK_FLIP/: results.csv (a row for each target and budget), robust.json (accuracy
by degree and margin), robust.png, and the perturbed graphs: flips_N.npz (`vita_jax.attacks.read_flips`), of
gr_bcd graph_N.npz, which --config.data.path reads. nettack's flips are cached: they do not depend on the run.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from vita_jax import cli
from vita_jax.base.files import write_json, write_text
from vita_jax.report import charts
from vita_jax.report.pictures import save_figure
from vita_jax.report.tables import csv_text

ATTACKS = ["nettack", "pr_bcd", "gr_bcd", "random", "dice", "fgsm_features"]

WORKDIR = cli.define_workdir()
ATTACK = flags.DEFINE_enum("attack", None, ATTACKS, "Who attacks, see above.", required=True)
FLIP = flags.DEFINE_enum("flip", None, ["links", "features", "both"], "What is flipped.")
BUDGET = flags.DEFINE_list("budget", ["2"], "Budgets, whole numbers.")
TARGETS = flags.DEFINE_integer("targets", 0, "So many test nodes, drawn; 0: all.", lower_bound=0)
NODES = flags.DEFINE_list("nodes", None, "Targets by number, instead of --targets.")
SEED = flags.DEFINE_integer("seed", None, "Seed of the run; default: its first.")
ATTACK_SEED = flags.DEFINE_integer(
  "attack_seed", 0, "Of drawn targets and of attacks that draw.", lower_bound=0
)


def main() -> None:
  from vita_jax.attacks import by_name, graph_edits, robustness

  wanted = [
    by_name.asked(ATTACK.value, FLIP.value, budget, seed=ATTACK_SEED.value)
    for budget in _whole("budget", BUDGET.value)
  ]
  flip = wanted[0].flip
  graph, logits = _network(WORKDIR.value, SEED.value)
  graph_edits.check_attackable(graph, features=flip != "links")
  targets = _targets(graph)
  guesses = robustness.predicted(logits, graph, features=False)
  labels = np.where(graph.labels < 0, guesses, graph.labels)
  folder = Path(WORKDIR.value) / "attacks" / f"{ATTACK.value}_{flip}"
  folder.mkdir(parents=True, exist_ok=True)
  rows: list[dict[str, Any]] = []
  summary: dict[str, dict[str, float]] = {}
  for one in wanted:
    found = _attacked(one, graph, logits, targets, labels, folder)
    known = ({"budget": one.budget, **row, "label_is": _source(graph, row["target"])} for row in found)
    rows += known
    found_of = summary[str(one.budget)] = robustness.robust_accuracy(found)
    print(f"budget {one.budget}: {100 * found_of['all']:.1f} % of {len(targets)} targets stay right")
  write_text(folder / "results.csv", csv_text(rows))
  asked = {"attack": ATTACK.value, "flip": flip, "attack_seed": ATTACK_SEED.value, "seed": SEED.value}
  asked |= {"targets": targets.tolist()}
  write_json(folder / "robust.json", {**asked, "robust_accuracy": summary})
  clean = summary[str(wanted[0].budget)]["clean"]
  print(f"clean: {100 * clean:.1f} %; written to {folder}")
  save_figure(folder / "robust.png", functools.partial(_figure, summary, clean))


def _network(workdir: str, seed: int | None) -> tuple[Any, Any]:
  """Returns the graph of a run, and its trained network (and defence) as a function of a graph."""
  import jax

  from vita_jax.papers.ss_gcn.data import read_graph
  from vita_jax.papers.ss_gcn.export import attacked
  from vita_jax.papers.ss_gcn.recipe import recipe_of
  from vita_jax.train.finish import read_config, read_summary

  config = read_config(Path(workdir))
  if config.paper != "ss_gcn":
    raise ValueError(f"{workdir} is a run of {config.paper}: this script attacks runs of ss_gcn")
  found = read_summary(Path(workdir))
  if not (found and found["complete"]):  # its newest checkpoint would be attacked in silence
    raise ValueError(
      f"the run in {workdir} is not finished: the command that trained it goes on; then attack"
    )
  exported, _ = cli.exported(workdir, seed)
  recipe = recipe_of(config)
  graph = read_graph(recipe)
  params = jax.tree.map(lambda x: x[None], exported.params)
  return graph, functools.partial(_logits, attacked(recipe, graph, params))


def _logits(victim: Any, graph: Any) -> Any:
  """Computes the logits [N, C] of the one network that a victim has."""
  return victim(graph)[0]


def _attacked(
  one: Any, graph: Any, logits: Any, targets: np.ndarray, labels: np.ndarray, folder: Path
) -> list[dict[str, Any]]:
  """Runs the attack with one budget, writes the perturbed graphs, and returns a row for each target."""
  from vita_jax.attacks import by_name, graph_edits, robustness

  classes = labels[targets]
  if one.attack in by_name.WHOLE:
    pairs = by_name.pairs_of(one, graph, logits, targets, labels)
    graph_edits.write_graph(folder / f"graph_{one.budget}.npz", graph_edits.flip_links(graph, pairs))
    return robustness.judge_whole(logits, graph, pairs, targets, classes, features=False)
  found = by_name.flips_of(one, graph, logits, targets, labels)
  graph_edits.write_flips(folder / f"flips_{one.budget}.npz", graph, found)
  return robustness.judge(logits, graph, found, classes, features=False)


def _targets(graph: Any) -> np.ndarray:
  from vita_jax.attacks.graph_edits import check_targets

  if NODES.value is not None:
    return check_targets(graph, np.array(_whole("nodes", NODES.value)))
  nodes = np.flatnonzero(graph.test_mask)
  if not len(nodes):
    raise ValueError("the graph has no test nodes: name targets by --nodes=3,17")
  if not 0 < TARGETS.value < len(nodes):
    return nodes
  drawn = np.random.default_rng(ATTACK_SEED.value).choice(nodes, TARGETS.value, replace=False)
  return np.sort(drawn)


def _whole(name: str, listed: list[str]) -> list[int]:
  if not listed:
    raise ValueError(f"--{name}= names none: give whole numbers, e.g. --{name}=1,2,5, or leave it out")
  try:
    return list(dict.fromkeys(int(text) for text in listed)) if name == "budget" else [*map(int, listed)]
  except ValueError:
    raise ValueError(f"--{name}={','.join(listed)} must be whole numbers, e.g. --{name}=1,2,5") from None


def _source(graph: Any, target: int) -> str:
  return "predicted" if graph.labels[target] < 0 else "given"


def _figure(summary: dict[str, dict[str, float]], clean: float) -> Any:
  groups = [name for name in next(iter(summary.values())) if name == "all" or name.startswith("degree")]
  points = {
    name: [(int(budget), 100 * found[name]) for budget, found in summary.items() if name in found]
    for name in groups
  }
  points["all"] = [(0, 100 * clean), *points["all"]]
  return charts.lines(points, x="budget", y="robust accuracy, %")


if __name__ == "__main__":
  cli.run(main)
