"""Rendered digits to MNIST: the method at a size that two CPU cores train in a minute.

  python launch/train.py --config=configs/asg/fonts.py:asg --workdir=runs/asg/fonts

The argument is the method, as in configs/asg/emoji.py. Digits in twelve faces of DejaVu train, six of STIX
and Computer Modern are held out, and MNIST's test part is the test set; --config.data.real=digits takes the
8 x 8 scans of scikit-learn instead (with --config.data.size=8), which need no file. The teacher is a small
network that is trained here, on one half of the real training digits, on another task: odd or even, below
five or not. Its old head has those four outputs.
Hardware: two CPU cores. Time: about 1 minute for a method on one of them, 4 more to train the controller
(results/asg/table.jsonl). Peak memory: 1 GB.
Numbers, means of ten seeds: `real_mean_class_accuracy` 0.76 for backbone_x01, 0.78 for proxy, 0.79 for
wise_ft; `kl` 0.25 and 0.01 for the first two, `old_head_accuracy` 0.97 and 0.985.
"""

from vita_jax.papers.asg.recipe import default_config

SMALL = {
  "data.name": "fonts",
  "data.real": "mnist",
  "data.size": 28,
  "data.count": 3000,
  "model.kind": "cnn",
  "model.hidden": 0,
  "pretrain.steps": 1500,
  "finetune.rate": 0.05,
  "finetune.steps": 800,
  "finetune.equal_at": 0.7,
  "finetune.look_every": 25,  # or the equal accuracy is passed before the first look
  "proxy.weight": 1.0,
  "controller.episodes": 40,
  "controller.steps": 300,
  "controller.rate": 0.2,
  "controller.scaled": True,
}


def get_config(method: str = "asg"):
  return default_config(method, SMALL)
