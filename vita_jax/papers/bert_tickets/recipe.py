"""What a run does: the table of config keys, the paper's settings, and a config resolved for the steps."""

from __future__ import annotations

from typing import NamedTuple

import ml_collections

from vita_jax import base
from vita_jax.base import (
  Key,
  Rule,
  any_path,
  at_least,
  boolean,
  choose,
  defaults,
  each,
  half_open,
  one_of,
)
from vita_jax.data.text import GLUE
from vita_jax.train.config import KEYS as SHARED_KEYS

STARTS = ("theta0", "shuffled", "shuffled_entries", "random_reinit", "trained")
# method -> (where the mask comes from, what the tickets start from)
MEANING = {
  "full": ("none", ("theta0",)),
  "imp": ("search", ("theta0",)),
  "oneshot": ("magnitude", ("theta0",)),
  "random": ("random", ("theta0",)),
  "shuffled": ("search", ("shuffled",)),
  "random_reinit": ("search", ("random_reinit",)),
  "standard": ("search", ("trained",)),
}
METHODS = tuple(MEANING)
TASKS = ("squad", "mlm", "custom", *GLUE)
SETTINGS = {  # the paper's settings that differ from SST-2's
  "squad": {"learning_rate": 3e-5, "batch_size": 16, "epochs": 2.0, "data.max_length": 384},
  "mlm": {"learning_rate": 5e-5, "batch_size": 16, "steps": 10_000, "data.max_length": 512},
}


SHARE = half_open(0, 1)
SHARES = each("numbers from 0 on and below 1", SHARE.holds)
_STARTS = each(
  f"names among {', '.join(STARTS)}, at least one", lambda start: isinstance(start, str), least=1
)
RATE = Rule("a finite number, above 0 and below 1", lambda value: SHARE.holds(value) and value > 0)

KEYS = (
  Key(
    "task", "sst2", one_of(*TASKS), "A GLUE task, squad, mlm (masked words), or custom: a TSV of your own."
  ),
  Key("method", "imp", one_of(*METHODS), "Where masks come from, and what they are put on."),
  Key("model.path", "bert-base-uncased", any_path, "Hugging Face folder of θ0; empty: random weights."),
  Key("model.vocab", "", any_path, "Folder of the vocabulary; empty: the model's own."),
  Key("model.hidden_size", 128, at_least(1), "Width; this and the next four are for random weights only."),
  Key("model.num_hidden_layers", 2, at_least(1), "Layers."),
  Key("model.num_attention_heads", 2, at_least(1), "Attention heads; they divide the width."),
  Key("model.intermediate_size", 512, at_least(1), "Width of the feed-forward maps."),
  Key("model.dropout", 0.1, SHARE, "Dropout rate; a pre-trained folder states its own."),
  Key("model.remat", False, boolean, "Compute layers again in the backward pass: less memory, more time."),
  Key("data.train", "", any_path, "File: TSV, SQuAD JSON or, for mlm, text; empty: the task's own data."),
  Key("data.dev", "", any_path, "File of the development split, like data.train."),
  Key("data.kind", "classification", one_of("classification", "regression"), "What custom labels are."),
  Key("data.max_length", 128, at_least(8), "Tokens of a text, special ones included; longer ones are cut."),
  Key("data.train_rows", 0, at_least(0), "Training rows, drawn by a fixed seed; 0: all."),
  Key("data.dev_rows", 0, at_least(0), "Development rows, drawn by a fixed seed; 0: all."),
  Key("data.bucket", 16, at_least(8), "Shortest static length of a batch; each further one doubles it."),
  Key("data.window", 16, at_least(1), "Batches whose rows are sorted by length together; 1: none are."),
  Key("batch_size", 32, at_least(1), "Rows of a batch."),
  Key("epochs", 3.0, at_least(0), "Passes over the training rows in one training."),
  Key("steps", 0, at_least(0), "Steps of one training; 0: as epochs says."),
  Key("learning_rate", 2e-5, at_least(0), "Adam's rate; it falls linearly to 0 over one training."),
  Key("clip_norm", 1.0, at_least(0), "Largest norm of a gradient; 0: not clipped."),
  Key("eval_every", 0, at_least(0), "Steps between evaluations within a training; 0: only at its end."),
  Key("sparsity", 0.7, SHARE, "Share of the weights of the pruned matrices (not of the model) that goes."),
  Key("tickets", (), SHARES, "Lower sparsities whose tickets are trained as well, from the same search."),
  Key("starts", ("theta0",), _STARTS, "What each mask is put on."),
  Key("ticket", "", any_path, "File of launch/export.py whose mask is used instead of a search."),
  Key("pruning.schedule", "linear", one_of("linear", "geometric"), "Rate of the original, or of the rest."),
  Key("pruning.rate", 0.1, RATE, "Share of the weights that is pruned after each round."),
  Key("pruning.scope", "global", one_of("global", "layer"), "Smallest of all matrices, or of each."),
  Key("rewind", 0.0, SHARE, "Rewind to the weights after this share of a training; 0: to θ0."),
  Key("rewind_to", "theta0", one_of("theta0", "none"), "none: search rounds continue from trained weights."),
  Key("head", "rewind", one_of("rewind", "keep"), "keep: the head stays as trained between search rounds."),
  Key(
    "imp_schedule",
    "round",
    one_of("round", "as_released"),
    "The rate falls to 0 in each round, or (as_released) over 1 / pruning.rate rounds, restarting in each.",
  ),
  Key(
    "random_masks",
    "global",
    one_of("global", "layerwise"),
    "Zeros drawn over all matrices, or (layerwise) as many in each as the ticket in config.ticket has.",
  ),
)


# Fields of a Recipe that are keys of the same name and value.
UNCHANGED = "task method dtype batch_size epochs steps learning_rate clip_norm eval_every ticket".split()


class ModelKeys(NamedTuple):
  """The keys `model.*`."""

  path: str
  vocab: str
  hidden_size: int
  num_hidden_layers: int
  num_attention_heads: int
  intermediate_size: int
  dropout: float
  remat: bool


class DataKeys(NamedTuple):
  """The keys `data.*`."""

  train: str
  dev: str
  kind: str
  max_length: int
  train_rows: int
  dev_rows: int
  bucket: int
  window: int


class Recipe(NamedTuple):
  """A config, checked and resolved; fields without a line here are keys of the same name.

  Attributes:
    masks_from: "none" | "search" | "ticket" | "magnitude" | "random".
    sparsities: of all tickets, ascending; the last is the main one.
    schedule, rate, scope: `pruning.*`.
    continues: search rounds continue from the trained weights (`rewind_to=none`).
    keeps_head: `head=keep`. as_released: `imp_schedule=as_released`.
  """

  task: str
  method: str
  model: ModelKeys
  data: DataKeys
  dtype: str
  batch_size: int
  epochs: float
  steps: int
  learning_rate: float
  clip_norm: float
  eval_every: int
  masks_from: str
  ticket: str
  sparsities: tuple[float, ...]
  starts: tuple[str, ...]
  schedule: str
  rate: float
  scope: str
  rewind: float
  continues: bool
  keeps_head: bool
  as_released: bool

  @property
  def main_result(self) -> str:
    """The result that is reported under plain names, and whose weights are exported."""
    return "full" if self.masks_from == "none" else f"{self.starts[0]}_{percent(self.sparsities[-1])}"


def percent(sparsity: float) -> str:
  """Names a sparsity: 0.7 -> "70"."""
  return f"{100 * sparsity:g}"


def default_config(task: str, method: str) -> ml_collections.ConfigDict:
  """Returns the paper's settings for one task.

  Args:
    task: one of `TASKS`.
    method: one of `METHODS`; "" is "imp".

  Raises:
    ValueError: an unknown method.
  """
  method = choose("method", method or "imp", METHODS)
  config = defaults(SHARED_KEYS, KEYS)
  # Seeds one after the other: a step fills the machine.
  config.update(paper="bert_tickets", replicate="map", task=task, method=method, starts=MEANING[method][1])
  if method == "standard":
    config.rewind_to = "none"
  config.update_from_flattened_dict(SETTINGS.get(task, {}))
  return config


def check(config: ml_collections.ConfigDict) -> None:
  """Checks every key, and the keys that do not go together.

  Raises:
    ValueError: the first that is wrong, by name, with the remedy.
  """
  base.check(config, SHARED_KEYS, KEYS)
  source, (own, *_) = MEANING[config.method]
  for start in config.starts:
    choose("start in config.starts", start, STARTS)
  if own != "theta0" and own not in config.starts:
    raise ValueError(
      f"config.starts {tuple(config.starts)} lacks what method '{config.method}' means, '{own}': give the"
      f" method as the config's argument, :{config.method}"
    )
  if config.ticket and source in ("none", "magnitude"):
    raise ValueError(f"config.ticket is not for method '{config.method}', which makes its own mask or none")
  if source == "random" and (config.random_masks == "layerwise") != bool(config.ticket):
    raise ValueError(
      "config.random_masks=layerwise copies the layers of a ticket: give it and config.ticket together"
    )
  if config.replicate == "vmap" and config.seeds > 1 and config.model.path:
    raise ValueError("config.replicate=vmap is for small models from random weights: use replicate=map")
  if config.init_from:
    raise ValueError(
      "config.init_from is not for tickets, which start from θ0: export that run and give its"
      " export/hugging_face as config.model.path"
    )
  if "trained" in config.starts:
    _check_standard(config, source)


def _check_standard(config: ml_collections.ConfigDict, source: str) -> None:
  if source != "search" or config.ticket:
    raise ValueError("config.starts 'trained' needs a search: leave config.ticket empty, method=standard")
  if tuple(config.starts) != ("trained",) or config.rewind_to != "none":
    raise ValueError("config.starts 'trained' goes alone, and with config.rewind_to=none (method=standard)")


def recipe_of(config: ml_collections.ConfigDict) -> Recipe:
  """Checks a config and resolves it.

  Raises:
    ValueError: see `check`.
  """
  check(config)
  source, _ = MEANING[config.method]
  return Recipe(
    **{name: config[name] for name in UNCHANGED},
    model=ModelKeys(**config.model.to_dict()),
    data=DataKeys(**config.data.to_dict()),
    masks_from="ticket" if source == "search" and config.ticket else source,
    sparsities=tuple(sorted({*config.tickets, config.sparsity})),
    starts=tuple(config.starts),
    schedule=config.pruning.schedule,
    rate=config.pruning.rate,
    scope=config.pruning.scope,
    rewind=0.0 if source == "none" else config.rewind,  # the full model is trained in one go
    continues=config.rewind_to == "none",
    keeps_head=config.head == "keep",
    as_released=config.imp_schedule == "as_released",
  )
