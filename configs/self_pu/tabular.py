"""Self-PU on a table of your own: a CSV file and a schema.

  python launch/train.py --config=configs/self_pu/tabular.py:nnpu --config.data.path=my.csv \\
    --config.data.schema=schema.json --config.prior=0.3 --workdir=runs/my
  python launch/predict.py --workdir=runs/my --data=new.csv --out=P.npz

Argument: the method, pn_oracle | pn_naive | upu | nnpu | self_paced | self_calibrated | self_pu. The
schema says which columns are inputs and which one marks labelled positives (vita_jax/data/README.md has all
its keys):

  {"numeric": ["age", "income"], "categorical": ["job"], "labelled": "fraud == yes", "target": "truth == yes"}

`target`, the true class, is optional: with it a test file (--config.data.test_path) gives accuracies, and
calibration may use the true classes of validation rows. --config.prior=0 estimates the prior. Say whether
labelled rows are part of the sample (--config.data.scenario=single_training_set) or the unlabelled ones were
collected separately (case_control).
Hardware, time, memory: two CPU cores; of 5,000 rows with 11 inputs nnPU takes 9 CPU seconds and 0.6 GB,
Self-PU 36 CPU seconds and 0.8 GB, start included.
Numbers: validation.md in the run's folder has accuracy, F1 and AUC with their intervals, from PU rows alone;
what they rest on is in vita_jax/papers/self_pu/README.md.
"""

from vita_jax.papers.self_pu.recipe import default_config


def get_config(method: str = "nnpu"):
  sizes = {"batch_size": 0, "validation__rows": 0}  # what suits the table
  return default_config(
    "tabular", method, prior=0.0, calibration__meta="entropy", model__hidden=(100, 100), **sizes
  )
