"""The settings of ASG: every key with its rule and meaning, the methods as switches, what a run reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import ml_collections

from vita_jax import base
from vita_jax.base.keys import (
  Key,
  above,
  any_path,
  at_least,
  between,
  boolean,
  each,
  half_open,
  one_of,
  text,
)
from vita_jax.data.augment_on_device import AUGMENTS
from vita_jax.data.emoji import KINDS as DRAWINGS
from vita_jax.nn.conv import form_for
from vita_jax.optim.layerwise import ACTIONS, REWARDS
from vita_jax.train.config import KEYS as SHARED

DATA = ("emoji", "fonts", "folder", "segmentation", "visda", "gta5")
PIXELS = ("segmentation", "gta5")  # every pixel has a label
STREAMED = ("visda", "gta5")  # too large for the device
PARTNERS = ("mnist", "digits")  # real sides of the fonts
NETS = ("efficientnet_lite0", "resnet18", "resnet50", "resnet101", "cnn", "fcn8s")
TRAINED_HERE = ("cnn", "fcn8s")  # networks whose teacher this run can train, on real pictures of an old task
RATES = ("fixed", "probe_first", "random_window", "random_init", "learned")
WINDOWED = ("random_window", "learned")
ANCHORS = ("none", "l2_sp", "feature_l2", "synaptic")
SELECT = ("last", "synthetic", "target")
_PLAIN = {"proxy.weight": 0.0}
_FULL = {**_PLAIN, "rates.backbone": 1.0}
# What a method changes of `proxy`: the KL term, and a tenth of the rate for the pretrained layers.
METHODS: dict[str, dict[str, Any]] = {
  "source_only": _FULL,
  "backbone_x01": _PLAIN,
  "frozen": {**_PLAIN, "rates.backbone": 0.0},
  "early_stop": {**_FULL, "finetune.select": "synthetic"},
  "proxy": {},
  "random_policy": {"rates.kind": "random_window"},
  "random_init_policy": {"rates.kind": "random_init"},
  "l2_sp": {**_PLAIN, "anchor.kind": "l2_sp", "anchor.weight": 0.01, "finetune.decay": 0.0},  # in its place
  "feature_l2": {**_PLAIN, "anchor.kind": "feature_l2", "anchor.weight": 1.0},
  "synaptic": {**_PLAIN, "anchor.kind": "synaptic", "anchor.weight": 1.0},
  "layer_decay": {**_PLAIN, "rates.decay": 2.6},
  "lp_ft": {**_FULL, "rates.kind": "probe_first"},
  "surgical": {**_FULL, "rates.trained": ("first",)},
  "wise_ft": {**_FULL, "wise.use": True},
  "asg": {"rates.kind": "learned"},
}
_NAME = each("names", lambda name: isinstance(name, str))
_COUNT = between(1, 2**31 - 1)

KEYS = (
  Key("method", "asg", one_of(*METHODS), "What is compared; give it as the config's argument."),
  Key("data.name", "emoji", one_of(*DATA), "Drawings, font digits, folders, scenes, VisDA-17, GTA5."),
  Key("data.size", 64, at_least(8), "Side of the pictures that networks see, in pixels."),
  Key("data.synthetic", "", any_path, "Folder of synthetic pictures (folder, visda, gta5)."),
  Key("data.real", "", text("a path, or for fonts mnist or digits"), "Real side: a folder; fonts: a name."),
  Key("data.count", 4000, _COUNT, "Synthetic pictures that are made (emoji, fonts, segmentation)."),
  Key("data.held_out", 1000, _COUNT, "Synthetic pictures that choose and do not train."),
  Key(
    "data.quick", 1000, _COUNT, "Real pictures for a look while training, and for cbst; never in the test."
  ),
  Key("data.drawings", "shipped", one_of(*DRAWINGS), "Emoji: the 213 that ship, or all 361."),
  Key("data.styles", ("noto-v1",), _NAME, "Styles of emoji that are held out."),
  Key("data.augment", "none", one_of(*AUGMENTS), "Random shifts by up to 1/8 and mirroring, each step anew."),
  Key(
    "data.fit", "square", one_of("square", "none"), "Folder: cut and resize, or pictures must have one size."
  ),
  Key("data.ignore", 255, between(0, 255), "Label of pixels that count nowhere; no class may have it."),
  Key("data.old_classes", "", any_path, "Folder: JSON, class -> classes of the old task; empty: none."),
  Key("model.kind", "efficientnet_lite0", one_of(*NETS), "The network."),
  Key("model.weights", "", any_path, "Pretrained weights (npz, safetensors); empty: see the README."),
  Key("model.hidden", 512, at_least(0), "Width of the new head's first layer (paper: 512); 0: one layer."),
  Key("model.width", 16, at_least(1), "Channels of the first layer (cnn, fcn8s; 64 is VGG-16's)."),
  Key(
    "model.groups", (), _NAME, "Layer groups in order, 'name=regular expression'; empty: the network's own."
  ),
  Key("pretrain.steps", 1000, _COUNT, "Steps of the teacher's training (cnn, fcn8s without weights)."),
  Key("pretrain.batch", 64, _COUNT, "Pictures in a step."),
  Key("pretrain.rate", 0.02, above(0), "Of momentum SGD, warmed up and decayed as the fine-tuning's."),
  Key("finetune.steps", 600, _COUNT, "Steps of fine-tuning."),
  Key("finetune.batch", 32, _COUNT, "Pictures in a step (paper: 32; segmentation: 6)."),
  Key("finetune.rate", 1e-4, above(0), "Learning rate (paper: 1e-4; segmentation: 1e-3)."),
  Key("finetune.schedule", "warmup_poly", one_of("warmup_poly", "constant"), "Of the rate (paper's plain)."),
  Key("finetune.warmup", 100, at_least(1), "Steps of the quadratic warm-up (paper: 100)."),
  Key("finetune.momentum", 0.9, half_open(0, 1), "Of SGD (paper: 0.9)."),
  Key("finetune.decay", 5e-4, at_least(0), "L2 added to the gradients, of all weights (paper: 5e-4)."),
  Key("finetune.sgd", "velocity", one_of("velocity", "torch"), "The rate in the velocity, or outside."),
  Key("finetune.select", "last", one_of(*SELECT), "Which weights are final; target is peeking."),
  Key("finetune.look_every", 100, _COUNT, "Steps between looks at held-out pictures, by which it selects."),
  Key("finetune.equal_at", 0.8, between(0, 1), "Synthetic accuracy at which methods are compared as well."),
  Key("proxy.weight", 0.1, at_least(0), "Of the KL term, lambda (paper: 0.1; segmentation: 75)."),
  Key("proxy.cap", 0.0, at_least(0), "Most that the KL term may be (paper: 9 in segmentation); 0: any."),
  Key("proxy.cache_teacher", False, boolean, "Compute the teacher's logits once, not at every step."),
  Key("anchor.kind", "none", one_of(*ANCHORS), "What else holds weights or features."),
  Key("anchor.weight", 0.01, at_least(0), "Of that term."),
  Key("rates.kind", "fixed", one_of(*RATES), "Where the multipliers of layer groups come from."),
  Key("rates.backbone", 0.1, between(0, 1), "Fixed: of all groups but the last (paper: 0.1); 0: frozen."),
  Key("rates.decay", 0.0, at_least(0), "Fixed: each group's divisor from the next one on; 0: none."),
  Key("rates.trained", (), _NAME, "Fixed: groups that train beside the last; 'first' is the first; (): all."),
  Key("rates.probe", 0.3, half_open(0, 1), "probe_first: share of the steps that train the head alone."),
  Key("wise.alpha", 0.5, between(0, 1), "Share of the trained weights in the average with the teacher's."),
  Key("wise.use", False, boolean, "The average is the final network; else it is only reported."),
  Key("controller.path", "", any_path, "Trained controller (controller.safetensors); empty: trained here."),
  Key("controller.episodes", 20, _COUNT, "Trainings that the controller learns from, one after the other."),
  Key("controller.steps", 250, _COUNT, "Steps of each (paper: 2 epochs)."),
  Key("controller.at_once", 1, between(1, 64), "Trainings side by side in each episode."),
  Key("controller.rollout", 5, _COUNT, "Decisions between updates (paper: 5)."),
  Key("controller.gamma", 0.0, between(0, 1), "Discount of later rewards (paper: 0)."),
  Key("controller.rate", 7e-4, above(0), "Of the controller's momentum SGD (paper: 7e-4)."),
  Key("controller.reward", "exp_neg_loss", one_of(*REWARDS), "Of a window; the paper's is not published."),
  Key("controller.baseline", True, boolean, "Subtract earlier episodes' mean at that decision (paper: no)."),
  Key("controller.scaled", False, boolean, "Divide advantages by their root mean square (paper: no)."),
  Key("controller.entropy", 0.0, at_least(0), "Weight of the policy's entropy (paper: 0)."),
  Key("controller.clip", 0.5, at_least(0), "Largest norm of its gradient (paper: any); 0: any."),
  Key("controller.smallest", 10, _COUNT, "Shortest window, in steps (paper: 10; segmentation: 20)."),
  Key("controller.shrink", 20, _COUNT, "Windows are 1 / this of the steps taken (paper: 20)."),
  Key("controller.action", "sampled", one_of(*ACTIONS), "In fine-tuning: drawn (paper) or the likeliest."),
  Key("controller.legacy_window", False, boolean, "Windows as released, with its error of precedence."),
  Key("controller.legacy_memoryless", False, boolean, "No memory between decisions, as released."),
  Key("cbst.rounds", 0, at_least(0), "Rounds of class-balanced self-training on real pictures; 0: none."),
  Key("cbst.steps", 100, _COUNT, "Steps in a round."),
  Key(
    "cbst.first", 0.2, between(0, 1), "Share of each class that is labelled in the first round (CBST: 0.2)."
  ),
  Key("cbst.grow", 0.05, between(0, 1), "What each round adds to it (CBST: 0.05)."),
  Key("cbst.most", 0.5, between(0, 1), "The largest share (CBST: 0.5)."),
  Key("cbst.smooth", 0.0, at_least(0), "Weight of CRST's regulariser, MRKLD; 0: none."),
  Key("report.flip", False, boolean, "Average the sigmoids of a picture and its mirror image (VisDA-17)."),
)


# The values of the keys of one group, as a NamedTuple with the names above.
Data: TypeAlias = Any
Net: TypeAlias = Any
Pretrain: TypeAlias = Any
Tune: TypeAlias = Any
Proxy: TypeAlias = Any  # its cap is None where there is none
Anchor: TypeAlias = Any
Rates: TypeAlias = Any
Wise: TypeAlias = Any
Controller: TypeAlias = Any
Cbst: TypeAlias = Any


class Recipe(NamedTuple):
  """The settings of a run, checked and resolved; `KEYS` says what each one means.

  `form` is where the convolutions of training steps stand (see `vita_jax.nn.conv`); `dtype` what networks
  compute in.
  """

  method: str
  data: Data
  net: Net
  pretrain: Pretrain
  tune: Tune
  proxy: Proxy
  anchor: Anchor
  rates: Rates
  wise: Wise
  controller: Controller
  cbst: Cbst
  flip: bool
  dtype: str
  form: str

  @property
  def pixels(self) -> bool:
    """Whether every pixel has a label."""
    return self.data.name in PIXELS


def default_config(
  method: str = "asg", changes: Mapping[str, Any] | None = None
) -> ml_collections.ConfigDict:
  """Returns the settings of one method: the paper's, then `changes` (by dotted key), then the method's own.

  Raises:
    ValueError: an unknown method.
  """
  method = base.choose("method", method or "asg", METHODS)
  config = base.defaults(SHARED, KEYS)
  config.update({"paper": "asg", "method": method})
  config.update_from_flattened_dict({**(changes or {}), **METHODS[method]})
  return config


def check(config: Any) -> None:
  """Checks a config: every key by its rule, and what keys ask of each other.

  Raises:
    ValueError: one line that names the key and what it must be.
  """
  base.check(config, SHARED, KEYS)
  _check_data(config)
  _check_net(config)
  if config.init_from:
    raise ValueError(
      f"config.init_from={config.init_from}: a student starts from its teacher; give config.model.weights"
    )
  if config.proxy.cache_teacher and config.data.augment != "none":
    raise ValueError(
      "config.proxy.cache_teacher is True: its logits are of the pictures as they are; set"
      " config.data.augment=none"
    )
  if config.proxy.cache_teacher and (config.data.name in STREAMED or teaches_itself(config.model)):
    raise ValueError(
      "config.proxy.cache_teacher is True: it is for pictures in memory and a teacher with weights, not for"
      f" {config.data.name} with {config.model.kind}"
    )
  if config.anchor.kind != "none" and config.anchor.weight == 0:
    raise ValueError(f"config.anchor.weight is 0: {config.anchor.kind} needs a weight above 0")
  rates = config.rates
  if rates.kind in WINDOWED and config.finetune.steps <= config.controller.smallest:
    raise ValueError(
      f"config.finetune.steps is {config.finetune.steps}: no decision is made before the first window of"
      f" config.controller.smallest={config.controller.smallest} has ended"
    )
  learns = rates.kind == "learned" and not config.controller.path
  if learns and config.controller.steps <= config.controller.smallest * (config.controller.rollout + 1):
    raise ValueError(
      f"config.controller.steps is {config.controller.steps}: an episode must be longer than"
      f" {config.controller.rollout + 1} windows, so that it has a rollout"
    )
  base.check_preset(config, "method", METHODS, tuned=("anchor.weight", "rates.decay"))


def teaches_itself(net: Any) -> bool:
  """Tells whether the teacher is trained in this run, by the keys `model.*`."""
  return net.kind in TRAINED_HERE and not net.weights


def _check_data(config: Any) -> None:
  data = config.data
  if data.name in ("folder", *STREAMED):
    for key in ("synthetic", "real"):
      if not data[key]:
        raise ValueError(f"config.data.{key} is empty: {data.name} needs a folder")
  if data.name == "fonts":
    base.choose("config.data.real", data.real, PARTNERS)
  if data.name in PIXELS and data.augment != "none":
    raise ValueError(
      "config.data.augment must be none where pixels have labels: scenes bring their own crops"
    )
  if data.name == "fonts" and data.augment in ("flip", "both"):
    raise ValueError(f"config.data.augment is {data.augment}: mirrored digits are none; take shift or none")


def _check_net(config: Any) -> None:
  kind, name = config.model.kind, config.data.name
  if (kind == "fcn8s") != (name in PIXELS):
    raise ValueError(
      f"config.model.kind is {kind} and config.data.name {name}: fcn8s is for {' and '.join(PIXELS)} alone"
    )
  if kind.startswith("resnet") and not config.model.weights:
    raise ValueError(
      f"config.model.weights is empty: {kind} starts from ImageNet's weights; give a safetensors file of"
      " torchvision's state dict (vita_jax/nn/resnet.py says how to write one)"
    )
  if teaches_itself(config.model) and name not in ("fonts", "segmentation"):
    raise ValueError(
      f"config.model.weights is empty: {kind} is trained here only on fonts and segmentation; give a file"
    )
  if (name == "fonts") != (kind == "cnn"):
    raise ValueError(
      f"config.model.kind is {kind} and config.data.name {name}: cnn is for fonts, grey digits"
    )
  for entry in config.model.groups:
    if "=" not in entry:
      raise ValueError(f"config.model.groups has '{entry}': write 'name=regular expression'")


def recipe_of(config: Any) -> Recipe:
  """Checks a config and returns the recipe that it resolves to.

  Raises:
    ValueError: see `check`.
  """
  check(config)
  proxy = base.section(config, "proxy")
  one_step = config.data.name in STREAMED or config.steps_per_call == 1
  return Recipe(
    method=config.method,
    data=base.section(config, "data"),
    net=base.section(config, "model"),
    pretrain=base.section(config, "pretrain"),
    tune=base.section(config, "finetune"),
    proxy=proxy._replace(cap=proxy.cap or None),
    anchor=base.section(config, "anchor"),
    rates=base.section(config, "rates"),
    wise=base.section(config, "wise"),
    controller=base.section(config, "controller"),
    cbst=base.section(config, "cbst"),
    flip=config.report.flip,
    dtype=config.dtype,
    form=form_for(steps_per_call=1 if one_step else 0, replicas=config.seeds),
  )
