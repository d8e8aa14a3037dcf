"""Meta-trains L2O-Scale, the hierarchy of GRUs, on MLP-orig (MNIST, 784-20-10, sigmoid).

  python launch/train.py --config=configs/l2o/scale.py:cl_il --workdir=runs/scale_cl_il

The argument is the variant: plain (100 epochs of 100 steps, as released) | cl_il (lengths up to 5,000 steps,
E = 1, R = 5, a tenth imitation). Hardware, time and peak memory: 2 CPU cores; plain minutes, cl_il hours;
1.6 GB. Number: none was measured here; by the paper's figures ln loss -1.0 and -1.9 after 10,000 steps on
MLP-orig. MNIST comes from $VITA_DATA_DIR.
"""

from vita_jax.papers.l2o.recipe import STAGES, default_config

VARIANTS = ("plain", "cl_il")


def get_config(variant: str = "plain"):
  config = default_config("l2o_scale", variant, variants=VARIANTS)
  config.meta_loss = "log_ratio"
  config.meta.update({"optimizer": "rmsprop", "learning_rate": 1e-6, "clip_value": 1e4})
  config.validation.update({"every": 1, "runs": 5})
  if config.variant == "plain":
    config.epochs = 100
  else:
    config.stages = (*STAGES, 3500, 4000, 4500, 5000)
    config.imitation.ratio = (0.1,)
  return config
