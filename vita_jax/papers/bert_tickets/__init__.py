"""BERT tickets: The Lottery Ticket Hypothesis for Pre-trained BERT Networks (NeurIPS 2020, arXiv 2007.12223).

Claim: pre-trained BERT contains subnetworks of 40 to 90 % sparsity that, trained by themselves from the
pre-trained weights, reach the full model's accuracy; those found by masked-LM at 70 % transfer to other
tasks, those found on a downstream task mostly do not.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import compress
from vita_jax.base.choose import choose
from vita_jax.data.index import batches_per_epoch
from vita_jax.data.resident import Resident, n_sweep_batches, sweep_batch_at
from vita_jax.nn.bert import PRUNABLE
from vita_jax.papers.bert_tickets import figures
from vita_jax.papers.bert_tickets.config import AT_LEAST, CHOICES, MEANING, METHODS
from vita_jax.papers.bert_tickets.export import exported
from vita_jax.papers.bert_tickets.given_masks import given_masks
from vita_jax.papers.bert_tickets.inputs import read_start
from vita_jax.papers.bert_tickets.steps import make_step, optimizer
from vita_jax.papers.bert_tickets.tasks import make_task
from vita_jax.papers.bert_tickets.trainings import Beginning, blank, count, make_enter, plan, theta0
from vita_jax.train.config import check_at_least
from vita_jax.train.experiment import Eval, Experiment, Report, Stage


def build(config: Any) -> Experiment:
  """The experiment of a config: reads the model, reads and tokenises the texts, plans the trainings.

  Args:
    config: from `configs/bert_tickets/*.py`; every field is explained in `papers/bert_tickets/config.py`.

  Raises:
    ValueError, FileNotFoundError: an unknown option, missing or unusable data or weights, a ticket of other
      weights.
  """
  _check(config)
  start = read_start(config)
  task = make_task(config, start)
  tx = optimizer(clip_norm=config.clip_norm)
  one_row = jnp.zeros((1, 8), jnp.int32)
  fresh = lambda key: task.model.init(key, one_row)["params"]  # noqa: E731
  select = PRUNABLE if start.pooler else r"^bert/encoder/.+/kernel$"
  head = r"^(?!bert/)" if start.pooler else r"^((?!bert/)|bert/pooler/)"
  if "mlm" in start.pretrained:
    head = r"(?!)"  # pre-trained, so that it goes back with the rest
  tree = jax.eval_shape(lambda: theta0(fresh, jax.random.key(0), start.pretrained))
  size = count(tree, select)
  trainings = plan(config, size)
  data, also = task.train, {"dev": task.dev}
  if start.pretrained:
    also["pretrained"] = Resident({"params": start.pretrained})
  steps = config.steps or max(1, round(config.epochs * batches_per_epoch(len(data.source), data.batch_size)))
  rewind = 0.0 if config.method == "full" else config.rewind  # the full model is trained in one go
  offset = round(rewind * steps)
  if rewind and not 0 < offset < steps:
    raise ValueError(f"config.rewind {config.rewind:g} of {steps} steps is no step within a training")

  n_dev = len(task.dev.arrays["ids"])
  row = jax.eval_shape(lambda p: task.outputs(p, sweep_batch_at(task.dev, task.dev.arrays, 0)), tree)

  def outputs(state, batch):
    return task.outputs(state["params"], batch)

  def prune(params, masks, zeros):
    scope = config.pruning.scope
    return compress.magnitude_masks(params, zeros / size, scope=scope, select=select, masks=masks)

  how = Beginning(
    fresh=fresh,
    tx=tx,
    select=select,
    head=head,
    prune=prune,
    outputs=outputs,
    keep_head=config.head == "keep",
    masks=given_masks(config, start, select),
    pretrained=bool(start.pretrained),
    rewinds=bool(offset),
    blank=lambda: blank(tree, select, trainings, row, n_dev),
  )
  rate = config.learning_rate
  whole = make_step(task.loss, tx, learning_rate=rate, decay_steps=steps)
  rest = make_step(task.loss, tx, learning_rate=rate, decay_steps=steps, offset=offset) if offset else whole
  released = config.imp_schedule == "as_released"
  long = round(steps / config.pruning.rate)
  search = make_step(task.loss, tx, learning_rate=rate, decay_steps=long, offset=offset) if released else rest

  def stage(training, before):
    if training.start == "early":
      length, step = offset, whole
    elif training.start in ("random_reinit", "trained"):
      length, step = steps, search if released and not training.ticket else whole
    else:
      length, step = steps - offset, rest if training.ticket or training.result else search
    return Stage(training.name, length, step, data, also, enter=make_enter(how, training, before))

  def init(key):
    return {"params": fresh(key), "key": key, "training": jnp.zeros((), jnp.int32)}

  all_rows = _all_rows(outputs, task.dev)

  def report(state, evaluate, sweep):
    del evaluate
    rows = {name: np.asarray(x) for name, x in state["outputs"].items()}
    rows[trainings[-1].result] = all_rows({"params": state["params"]})
    found = {name: task.score(x) for name, x in rows.items()}
    numbers = (
      {} if config.method == "full" else {f"{n}_{m}": v for n, ms in found.items() for m, v in ms.items()}
    )
    numbers = {**found[trainings[-1].result], **numbers, "truncated": task.truncated}
    drawn = {}
    if config.method != "full":
      masks = compress.unpack(state["masks"], state["params"])
      numbers["sparsity"] = compress.sparsity(masks)
      drawn["layers"] = lambda: figures.layers(masks)
    if len(found) > 1:
      metric = next(iter(found[trainings[-1].result]))
      drawn["tickets"] = lambda: figures.tickets({n: ms[metric] for n, ms in found.items()}, metric)
    return Report(numbers, drawn)

  return Experiment(
    init=init,
    stages=tuple(stage(t, b) for t, b in zip(trainings, (None, *trainings), strict=False)),
    params=lambda state: state["params"],
    evals={
      "dev": Eval(
        task.dev, lambda state, batch: task.loss(state["params"], batch, None)[1], config.eval_every
      )
    },
    report=report,
    export=lambda state: exported(config, start, task, state, fresh=fresh, select=select),
  )


def _check(config):
  choose("config.method", config.method, METHODS)
  for name, options in CHOICES.items():
    value = config
    for part in name.split("."):
      value = value[part]
    choose(f"config.{name}", value, options)
  check_at_least(config, AT_LEAST)
  if not 0 < config.pruning.rate < 1:
    raise ValueError(f"config.pruning.rate is {config.pruning.rate}: it has to be in (0, 1)")
  if not 0 <= config.rewind < 1:
    raise ValueError(f"config.rewind is {config.rewind}: it is a share of a training, in [0, 1)")
  source, (own, *_) = MEANING[config.method]
  if not config.starts or (own != "theta0" and own not in config.starts):
    raise ValueError(
      f"config.starts {tuple(config.starts)} has not what method '{config.method}' means, '{own}': give the"
      f" method as the config's argument, :{config.method}"
    )
  if config.ticket and source in ("none", "magnitude"):
    raise ValueError(f"config.ticket is not for method '{config.method}', which makes its own mask or none")
  if config.replicate == "vmap" and config.seeds > 1 and config.model.path:
    raise ValueError("config.replicate=vmap is for small models from random weights: use replicate=map")


def _all_rows(outputs, dev: Resident):
  """A function from a state to `outputs` of every development row, in row order, on the host."""
  run = jax.jit(lambda state, arrays, i: outputs(state, sweep_batch_at(dev, arrays, i)))

  def rows(state) -> np.ndarray:
    arrays = jax.device_put(dict(dev.arrays))
    found = [np.asarray(run(state, arrays, jnp.int32(i))) for i in range(n_sweep_batches(dev))]
    return np.concatenate(found)[: len(dev.arrays["ids"])]

  return rows
