"""Pictures of one's own: two folders by class, synthetic ones that train and real ones that test.

  python launch/train.py --config=configs/asg/folder.py:asg --workdir=runs/mine \\
    --config.data.synthetic=renders --config.data.real=photos

Both folders have one folder for each class, with equal names. `data.held_out` synthetic pictures choose, and
`data.quick` real ones are looked at while training (and self-trained on with cbst.rounds, without labels);
the other real ones are the test set. The argument is the method, as in configs/asg/emoji.py.
--config.model.kind=resnet50 with --config.model.weights=resnet50.safetensors takes torchvision's network.
--config.data.old_classes=FILE.json, class -> numbers of ImageNet's classes, adds the old head's accuracy.
Hardware: two CPU cores for EfficientNet-Lite0 at 64 to 128 pixels, else one GPU. Time: not measured; about
0.4 s for a step of 32 pictures of 64 x 64 on two cores, estimated. Peak memory: 2 GB, estimated.
Numbers: `real_mean_class_accuracy` and `real_overall_accuracy`, of which published ones are often mixed up.
"""

from vita_jax.papers.asg.recipe import default_config

OWN = {
  "data.name": "folder",
  "data.augment": "both",
  "data.held_out": 100,
  "data.quick": 100,
  "finetune.rate": 2e-3,  # a tenth of it, 2e-4, for the backbone
  "controller.episodes": 40,
  "controller.steps": 200,
  "controller.rate": 0.2,
  "controller.scaled": True,
  "steps_per_call": 1,
  "replicate": "map",
}


def get_config(method: str = "asg"):
  return default_config(method, OWN)
