"""Adversarial training with and without each task: clean accuracy, and runs for launch/ss_gcn/attack.py.

  python launch/table.py --suite=configs/ss_gcn/table_adversarial.py --workdir=runs/ss_gcn_adversarial
  python launch/ss_gcn/attack.py --workdir=runs/ss_gcn_adversarial/ROW --attack=nettack --flip=both --budget=2

Hardware, time and peak memory: 2 CPU cores, about four minutes for each row of Cora on a busy machine, 0.7 GB
(Cora). The paper's numbers are clean accuracy, [memory].
"""

from vita_jax.report.suite import Row

TASKS = ("none", "cluster", "partition", "completion")
PAPER = {  # clean test accuracy: GCN, then adversarial training with each of TASKS
  "Cora": (0.8061, 0.8024, 0.8026, 0.8042, 0.7964),
  "Citeseer": (0.7105, 0.6998, 0.7013, 0.6996, 0.6998),
}
SEEDS = 5


def _row(label, data, task, paper, **settings):
  return Row(
    label=label,
    config=f"configs/ss_gcn/{data.lower()}.py:{task}",
    overrides={"seeds": SEEDS, **settings.pop("overrides", {})},
    paper=(paper, None),
    source="[memory]",
    **settings,
  )


def get_suite():
  rows = []
  for data, (plain, *others) in PAPER.items():
    base, defended = f"{data} GCN", f"{data} AdvT"
    rows.append(_row(base, data, "none", plain))
    for task, paper in zip(TASKS, others, strict=True):
      label = defended if task == "none" else f"{defended} + {task}"
      against = base if task == "none" else defended
      attack = {"adversarial": "nettack"}
      rows.append(_row(label, data, task, paper, baseline=against, overrides=attack))
  return tuple(rows)
