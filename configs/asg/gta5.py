"""GTA5 to Cityscapes, 19 classes, with FCN-8s on VGG-16: the paper's segmentation experiment.

  python launch/train.py --config=configs/asg/gta5.py:asg --workdir=runs/asg/gta5 \\
    --config.data.synthetic=gta5 --config.data.real=cityscapes --config.model.weights=vgg16.safetensors

The argument is the method, as in configs/asg/emoji.py. The folders have images/ and labels/, and leftImg8bit/
and gtFine/; the weights are torchvision's (`vita_jax/nn/fcn.py`). Settings are the paper's: 100,000 steps of
six crops of 512 x 512, scaled by 0.75 to 1.25 and mirrored; lambda 75 with a cap of 9. Frames are tested
whole.
Hardware: one GPU with 40 GB. Time: not measured; about a day, estimated. Peak memory: 30 GB, estimated.
Expect: not computed; the paper reports a mean IoU of about 31 % for ASG with VGG-16, from memory and not
verified.
"""

from vita_jax.papers.asg.recipe import default_config

PAPER = {
  "data.name": "gta5",
  "data.size": 512,
  "data.held_out": 100,
  "data.quick": 20,
  "model.kind": "fcn8s",
  "model.width": 64,
  "finetune.batch": 6,
  "finetune.rate": 1e-3,
  "finetune.steps": 100_000,
  "finetune.look_every": 2000,
  "finetune.sgd": "torch",
  "proxy.weight": 75.0,
  "proxy.cap": 9.0,
  "controller.steps": 4000,
  "controller.smallest": 20,
}


def get_config(method: str = "asg"):
  return default_config(method, PAPER)
