"""The resolved configs as text: `python tests/golden/update.py` rewrites them; a diff shows what changed."""

import json
from pathlib import Path

from vita_jax.base.files import load_python_file

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SS_GCN_TASKS = ("none", "cluster", "partition", "completion", "random_labels")
BERT_METHODS = ("full", "imp", "oneshot", "random", "shuffled", "random_reinit", "standard")
BERT_TASKS = ("cola", "mnli", "qqp", "stsb", "wnli", "qnli", "mrpc", "rte", "squad", "mlm", "custom")
SELF_PU_METHODS = ("pn_naive", "upu", "nnpu", "self_paced", "self_calibrated", "self_pu")
CONFIGS = {f"configs/ss_gcn/{data}.py": SS_GCN_TASKS for data in ("citeseer", "cora", "pubmed", "custom")} | {
  "configs/l2o/dm.py": ("plain", "aug", "cl", "il", "cl_il"),
  "configs/l2o/rnnprop.py": ("plain", "cl_il"),
  "configs/l2o/scale.py": ("plain", "cl_il"),
  "configs/l2o/mlp.py": ("plain", "cl_il"),
  "configs/l2o/optimize.py": ("digits_mlp",),
  "configs/self_pu/digits.py": SELF_PU_METHODS,
  "configs/self_pu/mnist.py": ("nnpu", "self_pu"),
  "configs/self_pu/cifar10.py": ("self_pu",),
  "configs/self_pu/tabular.py": ("nnpu", "self_pu"),
  "configs/pcal/taiwan.py": ("limit_high", "edu"),
  "configs/pcal/german.py": ("age",),
  "configs/pcal/custom.py": ("",),
  "configs/bert_tickets/sst2.py": BERT_METHODS,
  **{f"configs/bert_tickets/{task}.py": ("imp",) for task in BERT_TASKS},
}


def resolved(path, argument):
  """The text of a resolved config: JSON, sorted."""
  module = load_python_file(ROOT / path)
  config = json.loads(module.get_config(argument).to_json_best_effort())
  return json.dumps(config, indent=1, sort_keys=True) + "\n"


def golden_file(path, argument):
  """Where the golden text of a config lives."""
  paper, name = Path(path).parent.name, Path(path).stem
  return HERE / paper / f"{name}_{argument}.json"


if __name__ == "__main__":
  for path, arguments in CONFIGS.items():
    for argument in arguments:
      target = golden_file(path, argument)
      target.parent.mkdir(exist_ok=True)
      target.write_text(resolved(path, argument))
