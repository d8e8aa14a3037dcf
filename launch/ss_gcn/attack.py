"""Attacks a trained SS-GCN run, of any host: how much accuracy is left when a few links are flipped.

  python launch/ss_gcn/attack.py --workdir=runs/par --attack=nettack --flip=both --budget=1,2,5 --targets=200
  python launch/ss_gcn/attack.py --workdir=runs/par --attack=pr_bcd --budget=2,5 --targets=200

The network stays as it was trained (evasion). What the attacker knows is part of each number:

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

ATTACKS = {  # attack -> what it can flip, the first by default
  "nettack": ("links", "features", "both"),
  "pr_bcd": ("links",),
  "gr_bcd": ("links",),
  "random": ("links",),
  "dice": ("links",),
  "fgsm_features": ("features",),
}
WORDS_PER_LINK = 10

WORKDIR = cli.define_workdir()
ATTACK = flags.DEFINE_enum("attack", None, list(ATTACKS), "Who attacks, see above.", required=True)
FLIP = flags.DEFINE_enum("flip", None, ["links", "features", "both"], "What is flipped.")
BUDGET = flags.DEFINE_list("budget", ["2"], "Budgets, whole numbers.")
TARGETS = flags.DEFINE_integer("targets", 0, "So many test nodes, drawn; 0: all.", lower_bound=0)
NODES = flags.DEFINE_list("nodes", None, "Targets by number, instead of --targets.")
SEED = flags.DEFINE_integer("seed", None, "Seed of the run; default: its first.")
ATTACK_SEED = flags.DEFINE_integer(
  "attack_seed", 0, "Of drawn targets and of attacks that draw.", lower_bound=0
)


def main() -> None:
  flip = FLIP.value or ATTACKS[ATTACK.value][0]
  if flip not in ATTACKS[ATTACK.value]:
    raise ValueError(f"--attack={ATTACK.value} flips {', '.join(ATTACKS[ATTACK.value])}, not {flip}")
  budgets = _whole("budget", BUDGET.value)
  if min(budgets) < 1:
    raise ValueError(f"--budget={min(budgets)}: budgets must be at least 1")

  from vita_jax.attacks import graph_edits, robustness

  graph, logits = _network(WORKDIR.value, SEED.value)
  graph_edits.check_attackable(graph, features=flip != "links")
  targets = _targets(graph)
  guesses = robustness.predicted(logits, graph)
  labels = np.where(graph.labels < 0, guesses, graph.labels)
  folder = Path(WORKDIR.value) / "attacks" / f"{ATTACK.value}_{flip}"
  folder.mkdir(parents=True, exist_ok=True)
  rows: list[dict[str, Any]] = []
  summary: dict[str, dict[str, float]] = {}
  for budget in budgets:
    found = _attacked(graph, logits, targets, labels, flip, budget, folder)
    known = ({"budget": budget, **row, "label_is": _source(graph, row["target"])} for row in found)
    rows += known
    summary[str(budget)] = robustness.robust_accuracy(found)
    print(f"budget {budget}: {100 * summary[str(budget)]['all']:.1f} % of {len(targets)} targets stay right")
  write_text(folder / "results.csv", csv_text(rows))
  write_json(folder / "robust.json", {"attack": ATTACK.value, "flip": flip, "robust_accuracy": summary})
  clean = summary[str(budgets[0])]["clean"]
  print(f"clean: {100 * clean:.1f} %; written to {folder}")
  save_figure(folder / "robust.png", functools.partial(_figure, summary, clean))


def _network(workdir: str, seed: int | None) -> tuple[Any, Any]:
  """Returns the graph of a run, and its trained network as a function of a graph."""
  from vita_jax.papers.ss_gcn.data import read_graph
  from vita_jax.papers.ss_gcn.recipe import recipe_of
  from vita_jax.train.finish import read_config

  config = read_config(Path(workdir))
  if config.paper != "ss_gcn":
    raise ValueError(f"{workdir} is a run of {config.paper}: this script attacks runs of ss_gcn")
  exported, _ = cli.exported(workdir, seed)
  return read_graph(recipe_of(config)), functools.partial(_logits, exported)


def _logits(exported: Any, graph: Any) -> Any:
  """Computes log-probabilities [N, C] of an exported network on a graph with edges in both directions."""
  import jax
  import jax.numpy as jnp

  link = graph.senders != graph.receivers
  weight, features = graph.edges["weight"], graph.nodes["features"]
  found = exported.program(
    exported.params,
    features=jnp.asarray(features),
    edges=jnp.stack([graph.senders, graph.receivers], axis=1),
    edge_weight=jnp.where(link, weight / 2, 0.0),  # the program takes each edge in both directions
    self_loops=jax.ops.segment_sum(jnp.where(link, 0.0, weight), graph.receivers, len(features)),
  )
  return jnp.log(jnp.maximum(found["probabilities"], 1e-30))


def _attacked(
  graph: Any, logits: Any, targets: np.ndarray, labels: np.ndarray, flip: str, budget: int, folder: Path
) -> list[dict[str, Any]]:
  """Runs the attack with one budget, writes the perturbed graphs, and returns a row for each target."""
  from vita_jax.attacks import graph_edits, robustness

  classes = labels[targets]
  if ATTACK.value == "gr_bcd":
    pairs = _whole_graph(graph, logits, targets, classes, budget)
    graph_edits.write_graph(folder / f"graph_{budget}.npz", graph_edits.flip_links(graph, pairs))
    return robustness.judge_whole(logits, graph, pairs, targets, classes, features=True)
  found = _flips(graph, logits, targets, labels, flip, budget)
  graph_edits.write_flips(folder / f"flips_{budget}.npz", graph, found)
  return robustness.judge(logits, graph, found, classes)


def _whole_graph(
  graph: Any, logits: Any, targets: np.ndarray, classes: np.ndarray, percent: int
) -> np.ndarray:
  import jax

  from vita_jax.attacks import gr_bcd, space

  count = max(1, round(len(graph.edges) * percent / 100))
  links, key = space.link_space(graph, features=True), jax.random.key(ATTACK_SEED.value)
  return gr_bcd.gr_bcd(logits, links, targets, classes, budget=count, key=key)


def _flips(
  graph: Any, logits: Any, targets: np.ndarray, labels: np.ndarray, flip: str, budget: int
) -> list[Any]:
  """Returns the flips of each target."""
  import jax

  from vita_jax.attacks import cached, fgsm, pr_bcd, simple, space, surrogate
  from vita_jax.attacks.graph_edits import Flips

  n_links = 0 if flip == "features" else budget
  n_words = 0 if flip == "links" else WORDS_PER_LINK * budget
  if ATTACK.value == "nettack":
    weight = surrogate.train_surrogate(graph)
    return cached.nettack_flips(graph, weight, targets, labels[targets], n_links=n_links, n_words=n_words)
  if ATTACK.value == "fgsm_features":
    clean = space.network_graph(graph, features=True)
    return [fgsm.fgsm_features(logits, clean, u, labels[u], n_words=n_words) for u in targets.tolist()]
  random = np.random.default_rng(ATTACK_SEED.value)
  if ATTACK.value == "random":
    return [simple.random_links(graph, u, n_links=n_links, random=random) for u in targets.tolist()]
  if ATTACK.value == "dice":
    draw = functools.partial(simple.dice_links, graph, labels, n_links=n_links, random=random)
    return [draw(u) for u in targets.tolist()]
  links, found = space.link_space(graph, features=True), []
  for u in targets.tolist():
    key = jax.random.fold_in(jax.random.key(ATTACK_SEED.value), u)
    pairs = pr_bcd.pr_bcd(logits, links, [u], [labels[u]], budget=n_links, key=key)
    others = pairs.sum(axis=1) - u  # one end of each is the target
    found.append(Flips(u, others.astype(np.int32), np.zeros(0, np.int32)))
  return found


def _targets(graph: Any) -> np.ndarray:
  from vita_jax.attacks.graph_edits import check_targets

  if NODES.value:
    return check_targets(graph, np.array(_whole("nodes", NODES.value)))
  nodes = np.flatnonzero(graph.test_mask)
  if not len(nodes):
    raise ValueError("the graph has no test nodes: name targets by --nodes=3,17")
  if not 0 < TARGETS.value < len(nodes):
    return nodes
  drawn = np.random.default_rng(ATTACK_SEED.value).choice(nodes, TARGETS.value, replace=False)
  return np.sort(drawn)


def _whole(name: str, listed: list[str]) -> list[int]:
  try:
    return [int(text) for text in listed]
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
