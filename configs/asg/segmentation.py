"""Generated scenes with a label for every pixel, flat ones to textured ones: FCN-8s on a narrow VGG-16.

  python launch/train.py --config=configs/asg/segmentation.py:proxy --workdir=runs/asg/scenes

The argument is the method, as in configs/asg/emoji.py. The teacher is trained here, on textured scenes, to
say what covers most of them; the student's old logits come from its classifier. Everything is generated.
Hardware: two CPU cores. Time: not measured; the first convolution pads 100 zeros, so a picture of 48 x 48
costs as much as one of 246 x 246: about 1 s for a step of 2 pictures and 10 minutes in all, estimated. Peak
memory: 2 GB, estimated.
Numbers: `real_mean_iou` and `real_iou_<class>`; no value is known beforehand.
"""

from vita_jax.papers.asg.recipe import default_config

SMALL = {
  "data.name": "segmentation",
  "data.size": 64,
  "data.count": 600,
  "data.held_out": 40,
  "data.quick": 20,
  "model.kind": "fcn8s",
  "model.width": 8,
  "pretrain.steps": 300,
  "pretrain.batch": 16,
  "pretrain.rate": 3e-4,
  "finetune.batch": 4,
  "finetune.steps": 300,
  "finetune.rate": 1e-2,
  "finetune.sgd": "torch",
  "proxy.weight": 1.0,
  "proxy.cap": 9.0,
  "controller.episodes": 4,
  "controller.smallest": 20,
  "steps_per_call": 1,
}


def get_config(method: str = "proxy"):
  return default_config(method or "proxy", SMALL)
