"""Says what each self-supervised task knows about a graph before any training: helps to choose one.

  python launch/ss_gcn/which_task.py --config=configs/ss_gcn/custom.py --config.data.path=my.npz

`left_out_accuracy`: how often a cluster's class is that of a training node that was left out, beside the
share of the largest class. `purity` of parts on training nodes, beside that of shuffled labels. `r2` of a
node's completion target given its neighbours. Only training labels are read. The numbers say what a task
could teach, not that it will: train with two or three tasks and compare validation accuracy. A task whose
library is missing, or that does not fit the graph, is named with the cause.
"""

from __future__ import annotations

from typing import Any

from vita_jax import cli

CONFIG = cli.define_config()
READINGS = {
  "cluster": "feature similarity implies class: sparse, informative features",
  "partition": "nearness in the graph implies class: weak hosts, few labels",
  "completion": "neighbours tell features: small graphs, robustness",
}


def main() -> None:
  from vita_jax.papers.ss_gcn.data import read_graph
  from vita_jax.papers.ss_gcn.recipe import recipe_of
  from vita_jax.report.tables import table

  recipe = recipe_of(CONFIG.value)
  graph = read_graph(recipe)
  rows = [[task, *_report(recipe, graph, task), reading] for task, reading in READINGS.items()]
  labelled = int(graph.train_mask.sum())
  print(f"{graph.name}: {len(graph.labels)} nodes, {len(graph.edges)} links, {labelled} labelled")
  print(table(["task", "measured", "against", "the prior, and where it is expected to help"], rows), end="")


def _report(recipe: Any, graph: Any, task: str) -> tuple[str, str]:
  """Returns what a task knows, and what it is to be compared with, as text."""
  from vita_jax.data.graph_report import label_report
  from vita_jax.papers.ss_gcn.data import supervision_of
  from vita_jax.papers.ss_gcn.recipe import sized

  own = recipe.n_outputs if recipe.task == task else 0
  asked = recipe._replace(task=task, n_outputs=own)
  asked = sized(asked, n_nodes=len(graph.labels), n_classes=graph.n_classes)
  try:
    supervision = supervision_of(asked, graph)
    assert supervision is not None  # every task here has labels
    measured, against = label_report(graph, supervision).items()
  except (ValueError, ImportError) as error:
    return f"not possible: {error}", ""
  return f"{measured[0]} {measured[1]:.3f}", f"{against[0]} {against[1]:.3f}"


if __name__ == "__main__":
  cli.run(main)
