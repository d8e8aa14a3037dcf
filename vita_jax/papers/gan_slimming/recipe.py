"""The settings of GAN Slimming: every key with its rule and meaning, the methods, what a run reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_collections

from vita_jax import base
from vita_jax.base.keys import Key, above, any_path, at_least, between, boolean, each, one_of
from vita_jax.losses.gan import KINDS
from vita_jax.nn.conv import form_for
from vita_jax.nn.features import NAMES
from vita_jax.nn.gan import OUTPUTS
from vita_jax.nn.quantize import CLIPS, Quant
from vita_jax.train.config import KEYS as SHARED

STYLES = ("cartoon", "horse2deer", "pairs", "domains")
GENERATORS = ("resnet", "cartoon")
AT_ONCE = ("magnitude", "random", "evolution")  # rules that look at the teacher alone, before any training
RULES = ("scale", *AT_ONCE, "all")
STARTS = ("teacher", "narrow")
REALS = ("teacher", "target_domain")
_NO_PRUNING = {"objective.prune": False, "channels": "all"}
_NO_DISTILLATION = {"objective.distil": False, "finetune.distil": False}
# What a method changes of GS-32: the switches of one objective, or how channels are chosen.
METHODS: dict[str, dict[str, Any]] = {
  "teacher": {**_NO_PRUNING, "slim.steps": 0, "finetune.steps": 0},
  "gs32": {},
  "gs8": {"objective.quantise": True},
  "gd": {**_NO_PRUNING, "student": "narrow"},
  "d": {**_NO_PRUNING, "objective.gan": False},
  "cp": {**_NO_DISTILLATION},
  "q": {**_NO_PRUNING, **_NO_DISTILLATION, "objective.quantise": True},
  "d_cp": {"objective.gan": False},
  "d_q": {**_NO_PRUNING, "objective.gan": False, "objective.quantise": True},
  "cp_q": {**_NO_DISTILLATION, "objective.quantise": True},
  "stack": {"objective.distil": False, "quant.after": (8, 6, 4)},
  "magnitude": {"objective.prune": False, "channels": "magnitude"},
  "random": {"objective.prune": False, "channels": "random"},
  "cec": {"objective.prune": False, "channels": "evolution"},
}
_BITS = between(2, 8)
_AFTER = each("bits, from 2 to 8", _BITS.holds)
_NETS = each(f"{', '.join(NAMES)}", NAMES.__contains__)

KEYS = (
  Key("method", "gs32", one_of(*METHODS), "What is compared; give it as the config's argument."),
  Key("data.style", "cartoon", one_of(*STYLES), "Photographs with cv2 cartoons, CIFAR-10, or folders."),
  Key("data.source", "", any_path, "Folder of pictures; empty: the photographs of VITA_DATA_DIR (cartoon)."),
  Key("data.target", "", any_path, "Folder of the other domain, or of the partners (pairs); empty: none."),
  Key("data.side", 256, at_least(8), "The shorter side of pictures, in pixels; smaller ones are enlarged."),
  Key("data.crop", 64, at_least(8), "Side of a training crop, and of those that are tested, in pixels."),
  Key("data.held_out", 42, at_least(1), "Pictures that are tested and do not train (CIFAR-10: test split)."),
  Key("data.crops", 6, at_least(1), "Tested crops of each held-out picture, at most."),
  Key("data.sigma_s", 60.0, above(0), "Reach of the cartoon's filter, in pixels."),
  Key("data.sigma_r", 0.45, above(0), "How different colours may be that it averages, up to 1."),
  Key("generator.kind", "resnet", one_of(*GENERATORS), "CycleGAN's (paper) or CartoonGAN's."),
  Key("generator.base", 64, at_least(1), "Channels of its first layer (paper: 64)."),
  Key("generator.blocks", 9, at_least(0), "Residual blocks (paper: 9; CartoonGAN: 8)."),
  Key("generator.output", "tanh", one_of(*OUTPUTS), "tanh (paper), or added to the picture and clipped."),
  Key("generator.stream", False, boolean, "Channels of the residual stream can be pruned, too (paper: not)."),
  Key("discriminator.width", 64, at_least(1), "Channels of its first layer (paper: 64)."),
  Key("discriminator.depth", 3, at_least(1), "Layers that halve the picture (paper: 3)."),
  Key(
    "teacher.path", "", any_path, "A run whose generator teaches, or a CycleGAN's safetensors; empty: none."
  ),
  Key("teacher.steps", 3000, at_least(1), "Steps that train a teacher."),
  Key("teacher.batch", 8, at_least(1), "Crops in a step."),
  Key("teacher.rate", 2e-4, above(0), "Learning rate of Adam (0.5, 0.999); a cosine takes it to 0."),
  Key("teacher.l1", 10.0, at_least(0), "Weight of |G(x) - y| where pairs exist."),
  Key("teacher.content", 5.0, at_least(0), "Weight of |G(x) - x| where none do (CycleGAN has cycles)."),
  Key("teacher.gan", 1.0, at_least(0), "Weight of its adversarial loss."),
  Key("objective.distil", True, boolean, "Distance to the teacher while slimming."),
  Key("objective.prune", True, boolean, "Proximal steps on the scales of norms while slimming."),
  Key("objective.quantise", False, boolean, "Weights and activations of few bits, in both stages."),
  Key("objective.gan", True, boolean, "Adversarial loss, in both stages."),
  Key("channels", "scale", one_of(*RULES), "Which stay: by trained scale, filters, chance, evolution."),
  Key("student", "teacher", one_of(*STARTS), "Starts as the teacher (paper), or narrow and random."),
  Key("slim.steps", 26600, at_least(0), "Steps of slimming (paper: 200 epochs of 133)."),
  Key("slim.batch", 8, at_least(1), "Pictures in a step (paper: 8)."),
  Key("slim.rate", 1e-5, above(0), "Learning rate of Adam (0.5, 0.999), weights and shifts (paper: 1e-5)."),
  Key("slim.gate_rate", 0.1, above(0), "Learning rate of momentum SGD on scales (paper: 0.1)."),
  Key("slim.discriminator_rate", 1e-5, above(0), "Learning rate of the discriminator's Adam (paper: 1e-5)."),
  Key("slim.momentum", 0.5, between(0, 0.999), "Momentum of the steps on scales (paper: 0.5)."),
  Key("slim.decay", 1e-3, at_least(0), "L2 added to the gradients of both Adams (paper: 1e-3)."),
  Key("slim.beta", 20.0, at_least(0), "Weight of the distance to the teacher (paper: 20)."),
  Key("slim.rho", 0.01, at_least(0), "Weight of the sum of |scales| (paper's command: 0.01)."),
  Key("slim.steer", True, boolean, "With a budget: rho is steered to it from its value (paper: fixed)."),
  Key("slim.gan", "least_squares", one_of(*KINDS), "The adversarial loss (paper's code: least_squares)."),
  Key("slim.real", "teacher", one_of(*REALS), "What the discriminator calls real (paper's code: teacher)."),
  Key("slim.pool", 50, at_least(0), "Earlier pictures that it is shown again (paper: 50)."),
  Key("slim.distance", "mse", one_of("mse", *NAMES), "To the teacher: mse, or perceptual on this network."),
  Key("slim.style", 1e5, at_least(0), "Weight of Gram matrices in a perceptual distance (paper: 1e5)."),
  Key("quant.bits", 8, _BITS, "Bits of weights and of activations (paper: 8)."),
  Key("quant.per_channel", False, boolean, "A step for each output channel; False: per kernel (paper)."),
  Key("quant.clip_kind", "fixed", one_of(*CLIPS), "Where clips of activations come from (code: fixed)."),
  Key("quant.clip", 4.0, above(0), "The fixed clip, and where others start (code: 4)."),
  Key(
    "quant.percentile", 99.9, between(50, 100), "Of |input|, that ema_percentile averages; 100: the maximum."
  ),
  Key("quant.compat", False, boolean, "257 unsigned levels as in the paper's code; cannot be exported."),
  Key("quant.after", (), _AFTER, "Bits of post-training quantisation that are measured as well."),
  Key("budget.macs", 0.0, between(0, 1), "Share of the dense network's multiply-adds that may stay; 0: any."),
  Key("budget.bytes", 0.0, between(0, 1), "Share of its float32 bytes that may stay; 0: any."),
  Key("round_to", 1, at_least(1), "Channel counts are multiples of this (paper: 1)."),
  Key("finetune.steps", 13200, at_least(0), "Steps with the channels fixed (paper: 200 epochs of 66)."),
  Key("finetune.batch", 16, at_least(1), "Pictures in a step (paper: 16)."),
  Key("finetune.rate", 1e-4, above(0), "Learning rate of both Adams, scales included (paper: 1e-4)."),
  Key("finetune.distil", True, boolean, "Distance to the teacher while fine-tuning."),
  Key("evolution.population", 8, at_least(2), "Candidates of a generation (CEC: 32)."),
  Key("evolution.generations", 5, at_least(1), "Generations (CEC: 50, each with training)."),
  Key("report.features", ("efficientnet_lite0", "mobilenet_v2"), _NETS, "For Fréchet and kernel distances."),
)


class Data(NamedTuple):
  """Keys `data.*`."""

  style: str
  source: str
  target: str
  side: int
  crop: int
  held_out: int
  crops: int
  sigma_s: float
  sigma_r: float


class Generator(NamedTuple):
  """Keys `generator.*`."""

  kind: str
  base: int
  blocks: int
  output: str
  stream: bool


class Discriminator(NamedTuple):
  """Keys `discriminator.*`."""

  width: int
  depth: int


class Teacher(NamedTuple):
  """Keys `teacher.*`."""

  path: str
  steps: int
  batch: int
  rate: float
  l1: float
  content: float
  gan: float


class Phase(NamedTuple):
  """One stage of the student's training: what is minimised and how.

  Attributes:
    steps, batch: how long, and how many pictures in a step.
    rate, gate_rate, discriminator_rate: of weights, scales (slimming alone) and discriminator, at the start.
    rho: weight of the proximal step; 0: it prunes nothing.
    steer: whether rho is steered to the budget.
    distil, gan: the terms of the objective.
    fixed: whether channels that are not kept stay empty.
  """

  steps: int
  batch: int
  rate: float
  gate_rate: float
  discriminator_rate: float
  rho: float
  steer: bool
  distil: bool
  gan: bool
  fixed: bool


class Objective(NamedTuple):
  """What both stages share of keys `slim.*`."""

  momentum: float
  decay: float
  beta: float
  kind: str
  real: str
  pool: int
  distance: str
  style: float


class Budget(NamedTuple):
  """Keys `budget.*` and `round_to`."""

  macs: float
  bytes: float
  round_to: int


class Recipe(NamedTuple):
  """The settings of a run, checked and resolved; `KEYS` says what each one means.

  `quant` is None without quantisation; `dtype` that of the generators' and discriminator's convolutions, None
  for float32; `form` is the form of convolutions that is fast where the steps run (see `vita_jax.nn.conv`).
  """

  method: str
  data: Data
  generator: Generator
  discriminator: Discriminator
  teacher: Teacher
  objective: Objective
  slim: Phase
  finetune: Phase
  channels: str
  student: str
  quant: Quant | None
  after: tuple[int, ...]
  budget: Budget
  population: int
  generations: int
  features: tuple[str, ...]
  dtype: str | None
  form: str


def default_config(
  method: str = "gs32", changes: Mapping[str, Any] | None = None
) -> ml_collections.ConfigDict:
  """Returns the settings of one method: the paper's, then `changes` (by dotted key), then the method's own.

  Raises:
    ValueError: an unknown method.
  """
  method = base.choose("method", method or "gs32", METHODS)
  config = base.defaults(SHARED, KEYS)
  config.update({"paper": "gan_slimming", "method": method})
  config.update_from_flattened_dict({**(changes or {}), **METHODS[method]})
  return config


def check(config: Any) -> None:
  """Checks a config: every key by its rule, and what keys ask of each other.

  Raises:
    ValueError: one line that names the key and what it must be.
  """
  base.check(config, SHARED, KEYS)
  _check_data(config)
  budget = bool(config.budget.macs or config.budget.bytes)
  if config.channels in AT_ONCE and not budget:
    raise ValueError(f"config.channels is {config.channels}, which needs config.budget.macs or budget.bytes")
  if budget and config.channels == "all" and config.student != "narrow":
    raise ValueError(f"config.method is {config.method}, which keeps all channels: it has no config.budget")
  if config.channels == "all" and config.objective.prune:
    raise ValueError(
      "config.channels is all: set config.objective.prune=False, whose channels would all stay"
    )
  if config.objective.prune:
    if not config.slim.steps:
      raise ValueError("config.slim.steps is 0: config.objective.prune needs steps that shrink scales")
    reach = config.slim.rho * config.slim.gate_rate * (config.slim.steps + 1) / 2
    if not config.slim.rho or (reach < 1 and not _steered(config)):  # scales start at 1
      raise ValueError(
        f"config.slim.rho is {config.slim.rho}: over {config.slim.steps} steps it takes {reach:.2g} off a"
        f" scale of 1, so nothing is pruned; give {5 * config.slim.rho / max(reach, 1e-9):.2g}, or more steps"
        if config.slim.rho
        else "config.slim.rho is 0, which prunes nothing: raise it, or set config.objective.prune=False"
      )
  if config.method == "teacher" and (config.slim.steps or config.finetune.steps):
    raise ValueError("config.method is teacher, which slims nothing: slim.steps and finetune.steps must be 0")
  if config.method == "teacher" and config.teacher.path:
    raise ValueError("config.teacher.path is the teacher of another run: the method teacher trains its own")
  if config.method != "teacher" and not config.finetune.steps:
    raise ValueError("config.finetune.steps is 0: channels are taken out on entering it, give at least 1")
  if config.slim.real == "target_domain" and config.data.style == "domains" and not config.data.target:
    raise ValueError("config.slim.real is target_domain: give its pictures as config.data.target")
  if config.generator.stream and config.generator.kind == "cartoon":
    raise ValueError("config.generator.stream is of config.generator.kind=resnet: cartoon's stream stays")
  base.check_preset(config, "method", METHODS, tuned=("quant.after",))


def _check_data(config: Any) -> None:
  data = config.data
  if data.crop % 4:
    raise ValueError(
      f"config.data.crop is {data.crop}: it must be a multiple of 4, the generator halves twice"
    )
  if data.crop // 2**config.discriminator.depth < 3:
    raise ValueError(
      f"config.data.crop is {data.crop}: too small for config.discriminator.depth="
      f"{config.discriminator.depth}, which needs {3 * 2**config.discriminator.depth}"
    )
  if data.style != "horse2deer" and data.side < data.crop:
    raise ValueError(f"config.data.side is {data.side}: smaller than config.data.crop, {data.crop}")
  if data.style in ("pairs", "domains") and not data.source:
    raise ValueError(f"config.data.source is empty: the style {data.style} needs a folder of pictures")
  if (data.style in ("cartoon", "horse2deer") and data.target) or (
    data.style == "horse2deer" and data.source
  ):
    raise ValueError(f"config.data.style is {data.style}, which takes no folder of that: leave it empty")
  if not data.target:
    if data.style == "pairs":
      raise ValueError("config.data.target is empty: the style pairs needs the folder of the partners")
    if data.style == "domains" and not config.teacher.path:
      raise ValueError("config.data.target is empty: without it give a trained config.teacher.path")
  if data.sigma_s > 200 or data.sigma_r > 1:
    raise ValueError("config.data.sigma_s must be at most 200, config.data.sigma_r at most 1")


def recipe_of(config: Any) -> Recipe:
  """Checks a config and returns the recipe that it resolves to.

  Raises:
    ValueError: see `check`.
  """
  check(config)
  slim, tune, switch, quant = config.slim, config.finetune, config.objective, config.quant
  at_once = config.channels in AT_ONCE  # then fine-tuning has the steps of both stages
  return Recipe(
    method=config.method,
    data=Data(**config.data),
    generator=Generator(**config.generator),
    discriminator=Discriminator(**config.discriminator),
    teacher=Teacher(**config.teacher),
    objective=Objective(
      slim.momentum, slim.decay, slim.beta, slim.gan, slim.real, slim.pool, slim.distance, slim.style
    ),
    slim=Phase(
      steps=0 if at_once else slim.steps,
      batch=slim.batch,
      rate=slim.rate,
      gate_rate=slim.gate_rate,
      discriminator_rate=slim.discriminator_rate,
      rho=slim.rho if switch.prune else 0.0,
      steer=_steered(config),
      distil=switch.distil,
      gan=switch.gan,
      fixed=False,
    ),
    finetune=Phase(
      steps=tune.steps + (slim.steps if at_once else 0),
      batch=tune.batch,
      rate=tune.rate,
      gate_rate=tune.rate,
      discriminator_rate=tune.rate,
      rho=0.0,
      steer=False,
      distil=tune.distil,
      gan=switch.gan,
      fixed=True,
    ),
    channels=config.channels,
    student=config.student,
    quant=_quant(quant) if switch.quantise else None,
    after=tuple(quant.after),
    budget=Budget(config.budget.macs, config.budget.bytes, config.round_to),
    population=config.evolution.population,
    generations=config.evolution.generations,
    features=tuple(config.report.features),
    dtype=None if config.dtype == "float32" else config.dtype,
    form=form_for(steps_per_call=1, replicas=config.seeds),  # streamed batches: each step is a program
  )


def _steered(config: Any) -> bool:
  return bool(config.objective.prune and config.slim.steer and (config.budget.macs or config.budget.bytes))


def _quant(keys: Any) -> Quant:
  options: dict[str, Any] = {
    "clip_kind": keys.clip_kind,
    "clip": keys.clip,
    "percentile": float(keys.percentile),
  }
  return Quant(keys.bits, keys.bits, keys.per_channel, paper_code_compat=keys.compat, **options)
