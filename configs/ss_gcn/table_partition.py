"""What may explain that partitioning gains less on Citeseer here than the paper reports: one detail a row.

  python launch/table.py --suite=configs/ss_gcn/table_partition.py --workdir=runs/ss_gcn_partition

Hardware, time and peak memory: 2 CPU cores, about 15 minutes, 0.6 GB. Nothing here was chosen by test
accuracy: the settings of configs/ss_gcn/citeseer.py stay the released code's, whatever these rows show.
"""

from vita_jax.report.suite import Row

PLAIN, PARTITION = "configs/ss_gcn/citeseer.py:none", "configs/ss_gcn/citeseer.py:partition"
WEIGHT, PARTS = "ss.gcn.weight", "ss.gcn.n_outputs"
DETAILS = {  # detail -> (overrides of both rows, overrides of the partition row alone)
  "as released": ({}, {}),
  "best validation epoch": ({"protocol": "best_validation", "epochs": 500}, {}),
  "decay on the first layer only": ({"weight_decay_on": "^input"}, {}),
  "no decay on the SS head": ({}, {"weight_decay_on": "^(input|target)"}),
  "features not normalised": ({"normalization": "none"}, {}),
  "8 parts": ({}, {PARTS: 8}),
  "16 parts": ({}, {PARTS: 16}),
  "SS weight 0.4 instead of 0.2": ({}, {WEIGHT: 0.6}),
  "another partition (METIS seed 1)": ({}, {"labels_seed": 1}),
  "another partition (METIS seed 2)": ({}, {"labels_seed": 2}),
}


def get_suite():
  rows = []
  for detail, (both, alone) in DETAILS.items():
    base = f"GCN, {detail}" if both or not alone else "GCN, as released"
    if both or not alone:
      rows.append(Row(base, PLAIN, {"seeds": 50, **both}))
    rows.append(Row(f"+ partition, {detail}", PARTITION, {"seeds": 50, **both, **alone}, baseline=base))
  return tuple(rows)
