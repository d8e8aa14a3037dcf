"""A task of seconds that needs no file of ours: font digits, and the scanned digits of scikit-learn."""

from vita_jax.papers.asg.recipe import default_config


def config(method="asg", **overrides):
  """A config of seconds: pictures of 8 x 8, a CNN of 4 channels."""
  found = default_config(method)
  found.data.update({"name": "fonts", "real": "digits", "size": 8})
  found.data.update({"count": 60, "held_out": 20, "quick": 20})
  found.model.update({"kind": "cnn", "width": 4, "hidden": 0})
  found.pretrain.update({"steps": 4, "batch": 16, "rate": 0.02})
  found.finetune.update({"steps": 12, "batch": 10, "rate": 0.01, "look_every": 5, "warmup": 2})
  found.controller.update({"episodes": 2, "steps": 9, "smallest": 2, "rollout": 2})
  found.log_every = 2
  found.update_from_flattened_dict(overrides)
  return found
