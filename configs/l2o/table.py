"""The results table of L2O: each optimizer is meta-trained and then run on the problem it was trained on.

  python launch/table.py --suite=configs/l2o/table.py --workdir=runs/l2o_table

Hardware, time and peak memory: 2 CPU cores, about one hour per row, 1.1 GB; --rows=REGEX picks rows. The
metric is ln loss, mean over the last 100 of 10,000 steps on MLP-orig, over 5 optimizations; the paper's
numbers are read off its figures. Unseen problems and classical optimizers are compared by
launch/l2o/optimize.py.
"""

from vita_jax.report.suite import Row

# label -> (config, ln loss at 10,000 steps by the paper's figures)
ROWS = {
  "DM": ("dm.py:plain", 0.0),
  "DM-AUG": ("dm.py:aug", -3.1),
  "DM-IL": ("dm.py:il", -3.2),
  "DM-CL": ("dm.py:cl", -6.0),
  "DM-CL-IL": ("dm.py:cl_il", -11.0),
  "RNNprop": ("rnnprop.py:plain", -6.0),
  "RNNprop-CL-IL": ("rnnprop.py:cl_il", -10.4),
  "Scale": ("scale.py:plain", -1.0),
  "Scale-CL-IL": ("scale.py:cl_il", -1.9),
  "MLP": ("mlp.py:plain", None),
  "MLP-CL-IL": ("mlp.py:cl_il", None),
}


def get_suite():
  return tuple(
    Row(
      label=label,
      config=f"configs/l2o/{config}",
      overrides={"final.steps": 10_000},
      metric="final_ln_loss",
      baseline="" if label in ("DM", "RNNprop", "Scale", "MLP") else label.split("-")[0],
      paper=(paper, None) if paper is not None else None,
      source="[figure]" if paper is not None else "",
    )
    for label, (config, paper) in ROWS.items()
  )
