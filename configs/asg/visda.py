"""VisDA-17, renderings to real crops of 12 classes, with ResNet-101: the paper's classification experiment.

  python launch/train.py --config=configs/asg/visda.py:asg --workdir=runs/asg/visda \\
    --config.data.synthetic=visda --config.data.real=visda --config.model.weights=resnet101.safetensors

The argument is the method, as in configs/asg/emoji.py. Both folders are the one that has train/ and
validation/ with their image_list.txt; `vita_jax/nn/resnet.py` says how to write the weights. Settings are the
paper's: 30 epochs of 4,763 steps, batches of 32, no augmentation; with a policy there is no schedule of the
rate.
Hardware: one GPU with 16 GB. Time: not measured; a few hours, estimated. Peak memory: 10 GB, estimated.
Expect: not computed; the paper reports a mean class accuracy of about 61 % for ASG, from memory, not
verified.
"""

from vita_jax.papers.asg.recipe import WINDOWED, default_config

PAPER = {
  "data.name": "visda",
  "data.size": 224,
  "model.kind": "resnet101",
  "finetune.steps": 30 * 4763,
  "finetune.look_every": 4763,
  "controller.steps": 2 * 4763,
  "report.flip": True,
}


def get_config(method: str = "asg"):
  config = default_config(method, PAPER)
  config.finetune.schedule = "constant" if config.rates.kind in WINDOWED else "warmup_poly"
  return config
