"""The settings of MM-Hand: every key with its rule and meaning, the methods, what a run reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import ml_collections

from vita_jax import base
from vita_jax.base.keys import Key, above, any_path, at_least, between, boolean, each, half_open, one_of
from vita_jax.data.curriculum import KINDS as CURRICULA
from vita_jax.hands.distance import CHAINS
from vita_jax.hands.render import CROPS
from vita_jax.hands.rig import NAMES as RIGS
from vita_jax.losses.gan import KINDS as GAN_KINDS
from vita_jax.nn.attention_transfer import FUSIONS, HEADS
from vita_jax.nn.conv import form_for
from vita_jax.nn.features import NAMES
from vita_jax.nn.hand_landmarks import NAMES as LANDMARKS
from vita_jax.train.config import KEYS as SHARED

DATA = ("rendered", "stb", "rhd", "custom")
GENERATORS = ("transfer", "unet", "cycle", "two_stage", "copy")
MODALITIES = ("pose", "depth", "joints")
# Discriminators by what they are shown beside a picture; "map" judges the maps of the way back.
JUDGES = ("appearance", "shape", "joints", "picture", "map")
DEPTHS = ("analytic", "learned")
PERCEPTUAL = ("off", "hed_vgg16", "lite")
SOURCES = ("random", "nearest")
# What a method changes of MM-Hand.
METHODS: dict[str, dict[str, Any]] = {
  "mm_hand": {},
  "patn": {"generator.modalities": ("pose",)},
  "no_attention": {"generator.fusion": "concat"},
  "pix2pix": {
    "generator.kind": "unet",
    "discriminator.kind": "patch",
    "discriminator.judges": ("joints",),
    "loss.gan": 1.0,
    "loss.l1": 100.0,
    "loss.net": "off",
    "curriculum.kind": "random",
  },
  "cyclegan": {
    "generator.kind": "cycle",
    "discriminator.kind": "patch",
    "discriminator.judges": ("picture", "map"),
    "loss.kind": "least_squares",
    "loss.gan": 2.0,  # the mean of two judges: 1 for each
    "loss.l1": 0.0,
    "loss.cycle": 10.0,
    "loss.net": "off",
    "curriculum.kind": "random",
  },
  "pg2": {
    "generator.kind": "two_stage",
    "discriminator.kind": "patch",
    "discriminator.judges": ("appearance",),
    "loss.gan": 1.0,
    "loss.net": "off",
    "curriculum.kind": "random",
  },
  "copy_source": {"generator.kind": "copy"},
}
_COUNT = between(1, 2**31 - 1)
_ZERO = between(0, 2**31 - 1)
_MAPS = each(f"of {', '.join(MODALITIES)}, at least one", MODALITIES.__contains__, least=1)
_JUDGES = each(f"of {', '.join(JUDGES)}, at least one", JUDGES.__contains__, least=1)
_VIDEOS = each("names of videos, at least one", lambda name: isinstance(name, str), least=1)
_NETS = each(f"{', '.join(NAMES)}", NAMES.__contains__)

KEYS = (
  Key("method", "mm_hand", one_of(*METHODS), "What is compared; give it as the config's argument."),
  Key("data.name", "rendered", one_of(*DATA), "Which hands: rendered here, or a folder of one of the sets."),
  Key("data.folder", "", any_path, "Folder of the set (custom: npz file); empty: hands are rendered."),
  Key("data.size", 256, at_least(16), "Side of the pictures, in pixels (paper: 256)."),
  Key("data.number", (2000, 400), each("two counts", _COUNT.holds, least=2), "Training and test pictures."),
  Key("data.rig", "left", one_of(*RIGS), "Whose hands are rendered; the makehuman ones ship."),
  Key("data.crop", "box", one_of(*CROPS), "Of rendered hands: their box stretched (paper), or a square."),
  Key("data.bend", 1.0, between(0.05, 1), "How far rendered fingers bend; closed fists are hard to judge."),
  Key("data.strangers", 100, _COUNT, "Test pictures of identities that do not train; of rendered hands."),
  Key("data.identities", 8, _COUNT, "Identities that train; of rendered hands."),
  Key("data.unseen", 2, _COUNT, "Identities that are tested alone; of rendered hands."),
  Key("data.photographs", "", any_path, "Folder of their backgrounds; empty: those of VITA_DATA_DIR."),
  Key("data.held_photographs", 60, _COUNT, "Photographs that are behind tested hands alone."),
  Key(
    "data.one_background", 0.5, between(0, 1), "Share of rendered pairs before one background, the target's."
  ),
  Key("data.seed", 0, _ZERO, "Of what is rendered."),
  Key("data.test_videos", ("B4Counting", "B4Random"), _VIDEOS, "Of STB, which are tested (literature: B1)."),
  Key("generator.kind", "transfer", one_of(*GENERATORS), "Streams that are transferred, or a baseline."),
  Key("generator.fusion", "attention", one_of(*FUSIONS), "Guides gate the picture's stream, or are joined."),
  Key("generator.modalities", ("pose", "depth"), _MAPS, "The guides, each of source and target."),
  Key("generator.width", 64, _COUNT, "Channels of its first layers (paper: 64)."),
  Key("generator.blocks", 9, _COUNT, "Blocks of the transfer (paper: 9)."),
  Key("generator.dropout", 0.5, half_open(0, 1), "Rate in its blocks, in training (paper: 0.5)."),
  Key("generator.swap_streams", False, boolean, "Guides change places at each block, as released."),
  Key("generator.scan", True, boolean, "Blocks are one scanned program: compiles sooner; slower on a CPU."),
  Key("generator.remat", True, boolean, "Compute blocks again in the backward pass, to save memory."),
  Key("discriminator.kind", "residual", one_of("residual", "patch"), "The paper's, or pix2pix's."),
  Key("discriminator.judges", ("appearance", "shape"), _JUDGES, "What pictures are judged beside, in order."),
  Key("discriminator.width", 64, _COUNT, "Channels of the first layer (paper: 64)."),
  Key("discriminator.blocks", 3, _COUNT, "Residual blocks, or layers that halve of a patch one (paper: 3)."),
  Key("discriminator.head", "none", one_of(*HEADS), "none: all channels are logits (paper); patch: one."),
  Key("discriminator.dropout", 0.5, half_open(0, 1), "Rate in its blocks, in training (paper: 0.5)."),
  Key("depth.source", "analytic", one_of(*DEPTHS), "Depth maps of capsules, or of a network trained first."),
  Key("depth.far", 700.0, above(0), "Depth in mm that the map says as 1 (paper's code: 700 for STB)."),
  Key("depth.steps", 10000, _COUNT, "Steps that train the network of depth."),
  Key("depth.gan", 0.01, at_least(0), "Weight of its adversarial loss beside |D - truth|."),
  Key("curriculum.kind", "easy_to_hard", one_of(*CURRICULA), "Sources of a target, by distance of poses."),
  Key("curriculum.candidates", 32, _COUNT, "Sources of each target, drawn once."),
  Key("curriculum.pacing", "linear", one_of("linear", "steps"), "A share that grows, or distances in steps."),
  Key("curriculum.start", 0.2, between(0.01, 1), "Share of the candidates that is allowed at first."),
  Key("curriculum.full", 0.5, between(0.01, 1), "Share of the run after which all are allowed."),
  Key("curriculum.chain", "tree", one_of(*CHAINS), "Bones of the distance: the hand's, or by index (code)."),
  Key("loss.l1", 10.0, at_least(0), "Weight of |G - truth| (paper: 10)."),
  Key("loss.gan", 5.0, at_least(0), "Weight of the adversarial loss, the mean over judges (paper: 5)."),
  Key("loss.kind", "non_saturating", one_of(*GAN_KINDS), "The adversarial loss (paper: cross-entropy)."),
  Key("loss.perceptual", 10.0, at_least(0), "Weight of the perceptual distance (paper: 10)."),
  Key("loss.net", "hed_vgg16", one_of(*PERCEPTUAL), "Its network; lite: hand landmarks. Never the judge."),
  Key("loss.distance", "l1", one_of("l1", "mse"), "Of its features (paper: l1)."),
  Key("loss.pose", 0.0, at_least(0), "Weight of the joints' error by the lite landmark network (paper: 0)."),
  Key("loss.cycle", 0.0, at_least(0), "Weight of |there and back - itself|; of cyclegan (CycleGAN: 10)."),
  Key("loss.pool", 50, _ZERO, "Earlier pictures that each judge is shown again (paper: 50)."),
  Key("loss.ratio", 1, _COUNT, "Steps of the judges for each of the generator (paper: 1)."),
  Key("train.batch", 3, _COUNT, "Pairs in a step (paper: 3)."),
  Key("train.rate", 2e-4, above(0), "Learning rate of the Adams (0.5, 0.999) (paper: 2e-4)."),
  Key("train.epochs", 100, _COUNT, "Epochs at this rate, one less with train.decay=0 (paper: 100)."),
  Key("train.decay", 0, _ZERO, "Epochs in which it then falls to 0 (paper: 0)."),
  Key("train.steps", 0, _ZERO, "Steps, at a constant rate; 0: those of the epochs."),
  Key("report.features", ("efficientnet_lite0", "mobilenet_v2"), _NETS, "For Fréchet and kernel distances."),
  Key("report.judge", "full", one_of("none", *LANDMARKS), "Landmark network that finds the pose."),
  Key("report.small_judge", 0, _ZERO, "Steps that train a small judge on renderings alone; 0: none."),
  Key("report.source", "random", one_of(*SOURCES), "Of a test target: any of its identity, or the nearest."),
)

# The values of the keys of one group, as a NamedTuple with the names above.
Group: TypeAlias = Any


class Phase(NamedTuple):
  """One stage of training: what is trained, on which losses.

  Attributes:
    name: of the stage.
    net: what is trained: "generator", or "depth".
    steps: 0: as many as the epochs have.
    judges: discriminators, in the order of their updates.
    l1, perceptual, pose, gan, cycle: weights.
    masked: |G - truth| counts twice where the hand is (PG2).
    kind: of the adversarial loss.
    pool: how many earlier pictures a judge is shown again.
  """

  name: str
  net: str
  steps: int
  judges: tuple[str, ...]
  l1: float
  perceptual: float
  pose: float
  gan: float
  cycle: float
  masked: bool
  kind: str
  pool: int


class Recipe(NamedTuple):
  """The settings of a run, checked and resolved; `KEYS` says what each one means.

  `phases` are the stages; `dtype` is that of the networks' convolutions, None for float32; `form` where they
  stand (see `vita_jax.nn.conv`).
  """

  method: str
  data: Group
  generator: Group
  discriminator: Group
  depth: Group
  curriculum: Group
  loss: Group
  train: Group
  report: Group
  phases: tuple[Phase, ...]
  dtype: str | None
  form: str

  @property
  def size(self) -> int:
    """Side of the pictures, in pixels."""
    return int(self.data.size)

  @property
  def learns_depth(self) -> bool:
    """Whether depth maps are those of a network."""
    return any(phase.net == "depth" for phase in self.phases)

  @property
  def far(self) -> float:
    """Depth in mm beyond which maps show nothing of a hand; infinite where no depth map is drawn."""
    drawn = self.generator.kind == "transfer" and "depth" in self.generator.modalities
    return float(self.depth.far) if drawn or self.generator.kind == "two_stage" else math.inf


def default_config(
  method: str = "mm_hand", changes: Mapping[str, Any] | None = None
) -> ml_collections.ConfigDict:
  """Returns the settings of one method: the paper's, then `changes` (by dotted key), then the method's own.

  Raises:
    ValueError: an unknown method.
  """
  method = base.choose("method", method or "mm_hand", METHODS)
  config = base.defaults(SHARED, KEYS)
  config.update({"paper": "mm_hand", "method": method})
  config.update_from_flattened_dict({**(changes or {}), **METHODS[method]})
  return config


def check(config: Any) -> None:
  """Checks a config: every key by its rule, and what keys ask of each other.

  Raises:
    ValueError: one line that names the key and what it must be.
  """
  base.check(config, SHARED, KEYS)
  base.check_preset(config, "method", METHODS)
  size, keys, judge = config.data.size, config.generator, config.discriminator
  least = 4 if keys.kind in ("transfer", "copy") else 8
  if size % least:
    raise ValueError(f"config.data.size is {size}: it must be a multiple of {least}")
  if config.data.name != "rendered" and not config.data.folder:
    raise ValueError(f"config.data.folder is empty: {config.data.name} needs the folder of its files")
  for name, values in (("generator.modalities", keys.modalities), ("discriminator.judges", judge.judges)):
    if len(set(values)) < len(values):
      raise ValueError(f"config.{name} is {', '.join(values)}: name each one once")
  if ("map" in judge.judges or config.loss.cycle > 0) != (keys.kind == "cycle"):
    raise ValueError(
      "config.discriminator.judges=map and config.loss.cycle are for the way back of"
      f" config.generator.kind=cycle, and it is {keys.kind}: give cyclegan as the config's argument"
    )
  if judge.kind == "patch" and size // 2**judge.blocks < 3:
    raise ValueError(
      f"config.discriminator.blocks is {judge.blocks}: a patch discriminator that halves so often needs"
      f" pictures of {3 * 2**judge.blocks}, config.data.size is {size}"
    )
  if judge.kind == "patch" and judge.head != "none":
    raise ValueError("config.discriminator.head is patch: that is for the residual kind, patch has its own")
  if config.curriculum.pacing == "steps" and config.curriculum.kind != "easy_to_hard":
    raise ValueError(
      "config.curriculum.pacing is steps: its distances grow, as easy_to_hard asks, and"
      f" config.curriculum.kind is {config.curriculum.kind}"
    )
  if config.report.judge == "lite" and (config.loss.net == "lite" or config.loss.pose):
    raise ValueError(
      "config.report.judge is lite, which the losses use, too: a judge must not be trained for"
    )


def recipe_of(config: Any) -> Recipe:
  """Checks a config and returns the recipe that it resolves to.

  Raises:
    ValueError: see `check`.
  """
  check(config)
  names = ("data", "generator", "discriminator", "depth", "curriculum", "loss", "train", "report")
  groups = {name: base.section(config, name) for name in names}
  return Recipe(
    method=config.method,
    phases=_phases(groups),
    dtype=None if config.dtype == "float32" else config.dtype,
    form=form_for(steps_per_call=config.steps_per_call, replicas=config.seeds),
    **groups,
  )


def _phases(groups: Mapping[str, Group]) -> tuple[Phase, ...]:
  loss, keys, depth = groups["loss"], groups["generator"], groups["depth"]
  if keys.kind == "copy":
    return ()
  found, none = [], Phase("", "generator", 0, (), loss.l1, 0.0, 0.0, 0.0, 0.0, False, loss.kind, loss.pool)
  if depth.source == "learned" and keys.kind == "transfer" and "depth" in keys.modalities:
    learned = none._replace(name="depth", net="depth", steps=depth.steps, judges=("depth",), l1=1.0)
    found.append(learned._replace(gan=depth.gan, pool=0))
  steps = groups["train"].steps
  masked = keys.kind == "two_stage"
  if masked:
    found.append(none._replace(name="coarse", steps=steps, masked=True))
  last = Phase(
    name="train",
    net="generator",
    steps=steps,
    judges=groups["discriminator"].judges,
    l1=loss.l1,
    perceptual=loss.perceptual if loss.net != "off" else 0.0,
    pose=loss.pose,
    gan=loss.gan,
    cycle=loss.cycle,
    masked=masked,
    kind=loss.kind,
    pool=loss.pool,
  )
  return (*found, last)
