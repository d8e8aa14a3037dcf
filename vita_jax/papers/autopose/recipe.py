"""The settings of AutoPose: every key with its rule and meaning, the methods, what a run reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import ml_collections

from vita_jax import base
from vita_jax.base.keys import Key, above, any_path, at_least, between, boolean, each, half_open, one_of, text
from vita_jax.data.poses import NAMES
from vita_jax.nn.conv import form_for
from vita_jax.pose.crops import CONVENTIONS
from vita_jax.pose.heatmaps import METHODS as DECODERS
from vita_jax.search.branches.space import LEAST_DEPTH, PRESETS, Space
from vita_jax.search.mixture import KINDS as RELAXATIONS
from vita_jax.search.reinforce import BASELINES
from vita_jax.train.config import KEYS as SHARED

DATA = (*NAMES, "custom")
FILES = ("coco", "mpii", "custom")  # data that may be a user's own files
MODELS = ("derived", "hrnet", "simple_baseline", "mean")
NETWORKS = ("reinforce", "uniform", "evolve", "fixed")
CELLS = ("gradient", "random", "plain")
SCHEDULES = ("linear", "cosine", "steps")
_TRAINED = {"search.steps": 0}
# What a method changes of `search`: who chooses network and cells, or which network is trained by itself.
METHODS: dict[str, dict[str, Any]] = {
  "search": {},
  "random": {"network.kind": "uniform", "cell.kind": "random"},
  "uniform": {"network.kind": "uniform"},
  "cell_only": {"network.kind": "fixed"},
  "network_only": {"cell.kind": "plain"},
  "evolve": {"network.kind": "evolve"},
  "single_branch": {**_TRAINED, "genotype": "single_branch"},
  "no_edges": {**_TRAINED, "genotype": "no_edges"},
  "hrnet": {**_TRAINED, "model.kind": "hrnet"},
  "simple_baseline": {**_TRAINED, "model.kind": "simple_baseline"},
  "mean_pose": {**_TRAINED, "model.kind": "mean", "train.steps": 0},
  "retrain": {**_TRAINED},
}
SEARCHES = tuple(name for name, changes in METHODS.items() if "search.steps" not in changes)
_COUNT = between(1, 2**31 - 1)
_SIZE = each("(height, width) in pixels, from 16 on", lambda n: isinstance(n, int) and n >= 16, least=2)
_SHARES = each("distances as shares of a length, above 0", above(0).holds, least=1)
_STEPS = each("steps", lambda n: isinstance(n, int) and n >= 1)
_GENOTYPE = text("a file, random:NUMBER, or one of " + ", ".join(PRESETS))
_PAIR = each("pixels in x and in y, from 0 on", at_least(0).holds, least=2)

KEYS = (
  Key("method", "search", one_of(*METHODS), "What is compared; give it as the config's argument."),
  Key("genotype", "", _GENOTYPE, "The network that retrain trains."),
  Key(
    "data.name", "pedestrians", one_of(*DATA), "Which poses; custom: a file in COCO's format and a folder."
  ),
  Key("data.size", (64, 64), _SIZE, "(height, width) of the crops, in pixels."),
  Key("data.count", (4000, 400), each("two counts", _COUNT.holds, least=2), "Training and test figures."),
  Key(
    "data.annotations", "", any_path, "JSON of training persons (coco, mpii, custom); empty: the small set."
  ),
  Key("data.folder", "", any_path, "Its pictures."),
  Key(
    "data.test_annotations", "", any_path, "JSON of test persons; empty: data.held_out of the training ones."
  ),
  Key("data.test_folder", "", any_path, "Its pictures."),
  Key("data.detections", "", any_path, "JSON of a detector's boxes for the test; empty: annotated boxes."),
  Key("data.held_out", 20, _COUNT, "Pictures that are tested, where there is no file of test persons."),
  Key("data.stream", False, boolean, "Read pictures while training, rather than hold all crops in memory."),
  Key("data.convention", "half", one_of(*CONVENTIONS), "Of crops and maps: the published one, or unbiased."),
  Key("data.sigma", 2.0, above(0), "Of target heat maps, in their places (published: 2)."),
  Key("data.flip", 0.5, between(0, 1), "Probability of a mirrored crop while training."),
  Key("data.scale", 0.0, half_open(0, 1), "Spread of random sizes while training (COCO: 0.35)."),
  Key("data.rotation", 0.0, at_least(0), "Spread of random rotations, in degrees (COCO: 45)."),
  Key("data.shift", (0.0, 0.0), _PAIR, "Largest random shift while training, in pixels."),
  Key("data.half_body", 0.0, between(0, 1), "Probability of half a body (COCO: 0.3); with data.stream."),
  Key("data.weights_share", 0.5, between(0.1, 0.9), "Training rows that train weights in a search (half)."),
  Key("data.held_share", 0.25, between(0.05, 0.9), "Of the others, rows that only score candidates."),
  Key("space.stages", 4, between(LEAST_DEPTH, 8), "The most stages."),
  Key("space.branches", 4, between(1, 6), "The most resolution branches."),
  Key("space.cells", 3, between(1, 8), "The most cells of a branch in a stage."),
  Key("model.kind", "derived", one_of(*MODELS), "The network: of the space, or a baseline."),
  Key("model.channels", 32, _COUNT, "Channels of the finest branch (HRNet: its width; ResNet: its first)."),
  Key("model.stem", 64, _COUNT, "Channels of the stem (SimpleBaseline: of its upsampling)."),
  Key("model.published", False, boolean, "HRNet, SimpleBaseline: as deep as published, not reduced."),
  Key("model.stride", 4, between(2, 4), "Pixels for each place of the maps: 2 or 4."),
  Key("network.kind", "reinforce", one_of(*NETWORKS), "Who chooses the network level in a search."),
  Key("network.preset", "staged", one_of(*PRESETS), "The fixed network level; staged is HRNet's."),
  Key("cell.kind", "gradient", one_of(*CELLS), "Who chooses cells; plain: two 3x3 convolutions."),
  Key("cell.relaxation", "softmax", one_of(*RELAXATIONS), "Of the choice of operations (DARTS: softmax)."),
  Key("cell.shared", False, boolean, "One kind of cell for all branches."),
  Key("cell.tau_first", 1.0, above(0), "Temperature at first."),
  Key("cell.tau_last", 1.0, above(0), "Temperature at last."),
  Key("cell.rate", 3e-4, above(0), "Learning rate of Adam (0.5, 0.999) on alpha."),
  Key("cell.decay", 0.0, at_least(0), "L2 on alpha (DARTS: 1e-3)."),
  Key("cell.start", 1e-3, at_least(0), "Deviation of alpha at first."),
  Key("search.steps", 6000, between(0, 2**31 - 1), "Steps of the search, all kinds; 0: no search."),
  Key("search.warm", 2000, at_least(0), "First steps, which train weights of uniform draws (a third)."),
  Key("search.batch", 32, _COUNT, "Crops in a step."),
  Key("search.rate", 1e-3, above(0), "Of Adam on weights, at first; a cosine takes it to 1e-5."),
  Key("search.clip", 5.0, above(0), "Largest norm of the gradient of weights."),
  Key("search.round", 100, _COUNT, "Steps on weights and alpha between those of the controller."),
  Key("search.every", 1, _COUNT, "Steps on weights between those on alpha."),
  Key("search.remat", True, boolean, "Compute cells again in the backward pass: less memory; CPUs: faster."),
  Key("controller.steps", 30, _COUNT, "Steps of the controller after each round."),
  Key("controller.samples", 8, _COUNT, "Architectures in each (AutoGAN: 1)."),
  Key("controller.observed", 8, at_least(0), "Uniform draws that are scored beside them, to compare with."),
  Key("controller.rate", 3.5e-4, above(0), "Learning rate of its Adam (AutoGAN: 3.5e-4)."),
  Key("controller.entropy", 1e-3, at_least(0), "Weight of the policy's entropy (AutoGAN: 1e-3)."),
  Key("controller.decay", 0.9, half_open(0, 1), "Of the baseline (AutoGAN: 0.9)."),
  Key("controller.baseline", "average", one_of(*BASELINES), "Of rewards over time, or others of the batch."),
  Key("controller.hidden", 100, _COUNT, "Width of its LSTM (AutoGAN: 100)."),
  Key("controller.macs", 0.0, at_least(0), "Multiply-adds beyond which a reward shrinks; 0: none."),
  Key("controller.beta", 0.07, at_least(0), "How much it shrinks."),
  Key("evolution.population", 32, at_least(2), "Individuals."),
  Key("evolution.tournament", 4, _COUNT, "Individuals of which the best is a parent."),
  Key("derive.candidates", 11, _COUNT, "Architectures that are scored in the end (AutoGAN: 10, and greedy)."),
  Key("derive.batches", 20, _COUNT, "Batches that the statistics of norms are measured on for each."),
  Key("derive.keep", 5, _COUNT, "Genotypes that are written, the best ones (AutoGAN: 5)."),
  Key("train.steps", 4000, between(0, 2**31 - 1), "Steps that train a network by itself."),
  Key("train.batch", 32, _COUNT, "Crops in a step."),
  Key("train.rate", 1e-3, above(0), "Learning rate of Adam."),
  Key("train.schedule", "linear", one_of(*SCHEDULES), "Of the rate: linear or cosine to 0, or steps."),
  Key("train.drops", (), _STEPS, "With steps: when the rate is divided by 10."),
  Key("train.warmup", 30, at_least(0), "Steps in which the rate rises from 0."),
  Key("budget.macs", 0.0, at_least(0), "Multiply-adds that widths are fitted to, within 5 %; 0: none."),
  Key("report.decode", "quarter", one_of(*DECODERS), "How keypoints are read from maps."),
  Key("report.flip", True, boolean, "Average the maps of crops and mirrored crops."),
  Key("report.shares", (0.2, 0.1), _SHARES, "Distances at which PCK is told; the first is the main one."),
)

# The values of the keys of one group, as a NamedTuple with the names above.
Group: TypeAlias = Any


class Recipe(NamedTuple):
  """The settings of a run, checked and resolved; `KEYS` says what each one means.

  `genotype` is a path or a preset, with the seed filled in; `form` is where the convolutions of a network
  that is trained by itself stand (those of a supernet always stand in loops).
  """

  method: str
  genotype: str
  data: Group
  space: Space
  model: Group
  network: Group
  cell: Group
  search: Group
  controller: Group
  evolution: Group
  derive: Group
  train: Group
  macs: float
  report: Group
  dtype: str
  form: str

  @property
  def searches(self) -> bool:
    """Whether an architecture is searched; else a network is trained."""
    return self.search.steps > 0

  @property
  def maps(self) -> tuple[int, int]:
    """(height, width) of heat maps."""
    return self.data.size[0] // self.model.stride, self.data.size[1] // self.model.stride


def default_config(
  step: str = "search", changes: Mapping[str, Any] | None = None
) -> ml_collections.ConfigDict:
  """Returns the settings of one method, then `changes` (by dotted key), then the method's own.

  Args:
    step: a method, or "retrain:GENOTYPE": a file of launch/autopose/derive.py, all_edges, staged, or
      random:NUMBER. `{seed}` in it stands for the run's seed.
    changes: of the defaults, which are those of the full scale.

  Raises:
    ValueError: an unknown method.
  """
  method, _, genotype = (step or "search").partition(":")
  base.choose("method", method, METHODS)
  config = base.defaults(SHARED, KEYS)
  config.update({"paper": "autopose", "method": method})
  config.update_from_flattened_dict({**(changes or {}), **METHODS[method]})
  if genotype:
    config.genotype = genotype
  return config


def check(config: Any) -> None:
  """Checks a config: every key by its rule, and what keys ask of each other.

  Raises:
    ValueError: one line that names the key and what it must be.
  """
  base.check(config, SHARED, KEYS)
  base.check_preset(config, "method", METHODS, tuned=("train.steps",))
  _check_data(config)
  trains = not config.search.steps
  if trains and config.model.kind == "derived" and not config.genotype:
    raise ValueError(
      "config.genotype is empty: give the network that is trained, as the config's argument"
      f" retrain:FILE of launch/autopose/derive.py, or retrain:all_edges ({', '.join(PRESETS)})"
    )
  if not trains and config.genotype:
    raise ValueError(
      f"config.genotype is {config.genotype}: a search takes none; give retrain:{config.genotype}"
    )
  if not trains and config.search.warm >= config.search.steps:
    raise ValueError(
      f"config.search.warm is {config.search.warm}: of {config.search.steps} steps none is left to search"
    )
  if config.network.kind == "fixed" and config.cell.kind == "plain" and not trains:
    raise ValueError("config.network.kind is fixed and config.cell.kind plain: nothing is left to search")
  if not trains and config.model.kind != "derived":
    raise ValueError(
      f"config.model.kind is {config.model.kind}: a search is of the space, model.kind=derived"
    )
  if config.model.published and config.model.kind not in ("hrnet", "simple_baseline"):
    raise ValueError(
      f"config.model.published is for HRNet and SimpleBaseline, config.model.kind is {config.model.kind}"
    )
  if config.network.kind == "evolve" and config.evolution.population < config.controller.samples:
    raise ValueError(
      f"config.evolution.population is {config.evolution.population}: give the"
      f" {config.controller.samples} of config.controller.samples, which come in at once, a place each"
    )
  if config.derive.keep > config.derive.candidates:
    raise ValueError(
      f"config.derive.keep is {config.derive.keep}: there are {config.derive.candidates} candidates"
    )
  if config.controller.macs and config.network.kind == "fixed" and not trains:
    raise ValueError("config.controller.macs is for networks that are chosen, config.network.kind is fixed")


def _check_data(config: Any) -> None:
  data = config.data
  if config.model.stride not in (2, 4):
    raise ValueError(f"config.model.stride is {config.model.stride}: it must be 2 or 4")
  of_space = config.model.kind in ("derived", "mean")
  least = config.model.stride * 2 ** (config.space.branches - 1) if of_space else 8 * config.model.stride
  if len(data.size) != 2 or any(n % least for n in data.size):
    raise ValueError(
      f"config.data.size is {tuple(data.size)}: height and width must be multiples of {least}, the stride of"
      " the coarsest branch"
    )
  if data.name not in FILES and (data.annotations or data.stream or data.detections):
    raise ValueError(
      f"config.data.annotations, stream and detections are for {', '.join(FILES)}, not for {data.name}"
    )
  if data.name == "custom" and not data.annotations:
    raise ValueError("config.data.annotations is empty: custom needs a JSON file in COCO's keypoint format")
  for key in ("", "test_"):
    if data[f"{key}annotations"] and not data[f"{key}folder"]:
      raise ValueError(f"config.data.{key}folder is empty: give the folder of the pictures")
  if data.detections and (data.name == "mpii" or not data.test_annotations):
    raise ValueError(
      "config.data.detections are the boxes of persons of config.data.test_annotations, in COCO's format"
    )
  if data.stream and not data.annotations:
    raise ValueError(
      "config.data.stream is True: it is for data.annotations; the small sets are held in memory"
    )
  if data.half_body and not data.stream:
    raise ValueError(
      f"config.data.half_body is {data.half_body}: it needs whole pictures, config.data.stream=True"
    )


def recipe_of(config: Any) -> Recipe:
  """Checks a config and returns the recipe that it resolves to.

  Raises:
    ValueError: see `check`; or several seeds, each of which has a network of its own.
  """
  check(config)
  if "{seed}" in config.genotype and config.seeds > 1:
    raise ValueError(
      f"config.genotype is {config.genotype} and config.seeds {config.seeds}: each seed has a network of its"
      " own, so run one seed at a time (launch/table.py: --split=1)"
    )
  names = "data model network cell search controller evolution derive train report".split()
  groups = {name: base.section(config, name) for name in names}
  one_step = config.data.stream or config.steps_per_call == 1
  return Recipe(
    method=config.method,
    genotype=config.genotype.replace("{seed}", str(config.seed)),
    space=Space(config.space.stages, config.space.branches, config.space.cells),
    macs=config.budget.macs,
    dtype=config.dtype,
    form=form_for(steps_per_call=1 if one_step else 0, replicas=config.seeds),
    **groups,
  )
