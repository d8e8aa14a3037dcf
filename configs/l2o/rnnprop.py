"""Meta-trains RNNprop, the LSTM behind Adam's moments, on MLP-orig (MNIST, 784-20-10, sigmoid).

  python launch/train.py --config=configs/l2o/rnnprop.py:cl_il --workdir=runs/rnnprop_cl_il

The argument is the variant: plain (100 epochs of 100 steps, as released) | cl_il (lengths up to 3,000 steps,
E = 10, R = 4; 320,000 inner steps, the least that the rule needs; a stage without improvement does not end
it, see the paper folder's README). Hardware, time and peak memory: 2 CPU cores; plain 3 minutes, cl_il 2 to 3
hours; 1.1 GB. Number: ln loss after 10,000 steps on MLP-orig (launch/l2o/optimize.py, 5 seeds): plain -3.6,
cl_il -9.3. MNIST comes from $VITA_DATA_DIR.
"""

from vita_jax.papers.l2o.recipe import default_config

VARIANTS = ("plain", "cl_il")


def get_config(variant: str = "plain"):
  config = default_config("rnnprop", variant, variants=VARIANTS)
  if config.variant == "plain":
    config.epochs = 100
  else:
    config.patience, config.inner_steps = "advance", 320_000
  return config
