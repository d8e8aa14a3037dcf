"""A task as a value: model, rows, loss, what is kept of each development row, and the score made of that."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import metrics
from vita_jax.data import text_squad
from vita_jax.data.resident import Resident
from vita_jax.data.stream import Stream
from vita_jax.data.text_masking import Masked, mask_words
from vita_jax.data.text_tokens import tokenize
from vita_jax.losses.xent import cross_entropy, weighted_mean
from vita_jax.nn.bert import BertClassifier, BertMaskedLM, BertSpans
from vita_jax.papers.bert_tickets import data
from vita_jax.papers.bert_tickets.losses import span_loss, squared_error
from vita_jax.papers.bert_tickets.model import Start
from vita_jax.papers.bert_tickets.recipe import Recipe

Metric = Callable[[np.ndarray, np.ndarray], float]

BEST_SPANS = 20  # starts and ends that are combined to answers
CORRELATIONS: dict[str, Metric] = {"pearson": metrics.pearson, "spearman": metrics.spearman}
WITH_F1: dict[str, Metric] = {"accuracy": metrics.share_equal, "f1": metrics.f1}
METRICS: dict[
  str, dict[str, Metric]
] = {  # task -> name of each metric -> function of (predicted, labels); the first is the paper's
  "cola": {"matthews": metrics.matthews, "accuracy": metrics.share_equal},
  "mrpc": WITH_F1,
  "qqp": WITH_F1,
  "stsb": CORRELATIONS,
}

Batch = Mapping[str, Any]


class Task(NamedTuple):
  """What a ticket is found in, or tried on.

  Attributes:
    model: linen module; `init(key, ids)`, `apply({"params": params}, ids, mask, types, key)`.
    train: rows in length buckets. dev: rows, all the same length.
    loss: `(params, batch, key) -> (loss, metrics)`; key None: without dropout.
    outputs: `(params, batch) -> [B, ...]`, small: all that the score needs of a development row.
    score: `outputs of all development rows -> {metric: float}`, the paper's metric first; on the host.
    truncated: how many texts of both splits were too long.
    classes: names of the classes, empty where there are none.
  """

  model: Any
  train: Stream
  dev: Resident
  loss: Callable[[Any, Batch, jax.Array | None], tuple[jax.Array, dict[str, Any]]]
  outputs: Callable[[Any, Batch], jax.Array]
  score: Callable[[np.ndarray], dict[str, float]]
  truncated: int
  classes: tuple[str, ...] = ()


def make_task(recipe: Recipe, start: Start) -> Task:
  """Makes the task of a recipe: reads and tokenises its texts.

  Raises:
    ValueError, FileNotFoundError: see `data`.
  """
  return {"squad": _spans, "mlm": _masked_words}.get(recipe.task, _labels)(recipe, start)


def metrics_of(task: str, *, regression: bool) -> Mapping[str, Metric]:
  """Returns a task's metrics by name; accuracy, or correlations, for one that `METRICS` does not have."""
  return METRICS.get(task, CORRELATIONS if regression else {"accuracy": metrics.share_equal})


def _apply(model: Any, params: Any, batch: Batch, key: jax.Array | None, **more: Any) -> jax.Array:
  types = batch["types"].astype(jnp.int32) if "types" in batch else None
  return model.apply({"params": params}, batch["ids"], data.token_mask(batch), types, key, **more)


def _sums(loss: jax.Array, weights: jax.Array, **more: Any) -> dict[str, Any]:
  n = jnp.sum(weights)
  return {"loss": (loss * n, n), **more}


def _labels(recipe: Recipe, start: Start) -> Task:
  """Classification, or regression where there are no classes."""
  splits = data.read_texts(recipe)
  length = recipe.data.max_length
  tokens = {
    name: tokenize(start.tokenizer, t.first, t.second, max_length=length) for name, t in splits.items()
  }
  dev_names = [name for name in splits if name != "train"]
  train, dev = data.row_data(
    recipe,
    data.label_arrays([tokens["train"]], [splits["train"]]),
    data.label_arrays([tokens[n] for n in dev_names], [splits[n] for n in dev_names]),
  )
  classes = splits["train"].classes
  model = BertClassifier(start.config, max(len(classes), 1), jnp.dtype(recipe.dtype), recipe.model.remat)
  score = functools.partial(
    _label_score, [(n, splits[n].labels) for n in dev_names], metrics_of(recipe.task, regression=not classes)
  )
  return Task(
    model=model,
    train=train,
    dev=dev,
    loss=functools.partial(_class_loss if classes else _score_loss, model),
    outputs=functools.partial(_logits, model),
    score=score,
    truncated=sum(t.truncated for t in tokens.values()),
    classes=classes,
  )


def _class_loss(model: Any, params: Any, batch: Batch, key: jax.Array | None) -> tuple[jax.Array, dict]:
  outputs, weights = _apply(model, params, batch, key), data.row_weights(batch)
  value = cross_entropy(outputs, batch["label"], weights)
  return value, _sums(value, weights, accuracy=metrics.accuracy(outputs, batch["label"], weights))


def _score_loss(model: Any, params: Any, batch: Batch, key: jax.Array | None) -> tuple[jax.Array, dict]:
  outputs, weights = _apply(model, params, batch, key), data.row_weights(batch)
  value = squared_error(outputs, batch["label"], weights)
  return value, _sums(value, weights)


def _logits(model: Any, params: Any, batch: Batch) -> jax.Array:
  return _apply(model, params, batch, None)


def _label_score(
  splits: Sequence[tuple[str, np.ndarray]], named: Mapping[str, Metric], outputs: np.ndarray
) -> dict[str, float]:
  """Scores each development split; those after the first carry their name in front."""
  found: dict[str, float] = {}
  row = 0
  for number, (name, labels) in enumerate(splits):
    rows = outputs[row : row + len(labels)]
    predicted = rows[:, 0] if labels.dtype == np.float32 else rows.argmax(-1)
    prefix = "" if number == 0 else f"{name.removeprefix('validation_')}_"
    found |= {f"{prefix}{metric}": fn(predicted, labels) for metric, fn in named.items()}
    row += len(labels)
  return found


def _spans(recipe: Recipe, start: Start) -> Task:
  """SQuAD: where the answer starts and ends."""
  questions = data.read_questions(recipe.data)
  length = recipe.data.max_length
  found = {n: text_squad.windows(start.tokenizer, q, max_length=length) for n, q in questions.items()}
  train, dev = data.row_data(recipe, data.span_arrays(found["train"]), data.span_arrays(found["validation"]))
  model = BertSpans(start.config, jnp.dtype(recipe.dtype), recipe.model.remat)
  return Task(
    model=model,
    train=train,
    dev=dev,
    loss=functools.partial(_span_loss, model),
    outputs=functools.partial(_best_spans, model),
    score=functools.partial(_span_score, questions["validation"], found["validation"]),
    truncated=sum(w.truncated for w in found.values()),
  )


def _span_loss(model: Any, params: Any, batch: Batch, key: jax.Array | None) -> tuple[jax.Array, dict]:
  weights = data.row_weights(batch)
  value = span_loss(_apply(model, params, batch, key), batch["start"], batch["end"], weights)
  return value, _sums(value, weights)


def _best_spans(model: Any, params: Any, batch: Batch) -> jax.Array:
  """float32 [B, 4, K]: places and logits of the K best starts, then of the K best ends."""
  logits = _apply(model, params, batch, None)
  best = [jax.lax.top_k(logits[..., i], min(BEST_SPANS, logits.shape[1])) for i in range(2)]
  return jnp.stack([x.astype(jnp.float32) for values, places in best for x in (places, values)], axis=1)


def _span_score(
  questions: Sequence[text_squad.Question], windows: text_squad.Windows, rows: np.ndarray
) -> dict[str, float]:
  return text_squad.scores(text_squad.best_answers(questions, windows, rows), questions)


def _masked_words(recipe: Recipe, start: Start) -> Task:
  """Masked-LM on a text file; the development text is masked once."""
  blocks = data.read_blocks(start, recipe.data)
  known = {name: start.tokenizer.token_to_id(f"[{name}]") for name in ("PAD", "CLS", "SEP", "MASK")}
  mask = functools.partial(
    mask_words,
    special=(known["PAD"], known["CLS"], known["SEP"]),
    mask_id=known["MASK"],
    vocab_size=start.config.vocab_size,
  )
  fixed = mask(jax.random.key(0), jnp.asarray(blocks["validation"]))
  lengths = {name: np.full(len(rows), rows.shape[1], np.int32) for name, rows in blocks.items()}
  dev_rows = {name: np.asarray(x) for name, x in fixed._asdict().items()} | {"length": lengths["validation"]}
  train, dev = data.row_data(recipe, {"ids": blocks["train"], "length": lengths["train"]}, dev_rows)
  model = BertMaskedLM(start.config, jnp.dtype(recipe.dtype), recipe.model.remat)
  return Task(
    model=model,
    train=train,
    dev=dev,
    loss=functools.partial(_word_loss, model, mask),
    outputs=functools.partial(_word_sums, model),
    score=_word_score,
    truncated=0,
  )


def _scored_words(
  model: Any, params: Any, batch: Batch, masked: Masked, key: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Cross-entropies [B, K], right or not [B, K], weights [B, K]."""
  logits = _apply(model, params, {**batch, "ids": masked.ids}, key, positions=masked.positions)
  weights = masked.weights * data.row_weights(batch)[:, None]
  picked = jnp.take_along_axis(logits, masked.labels[..., None], axis=-1)[..., 0]
  return jax.nn.logsumexp(logits, axis=-1) - picked, jnp.argmax(logits, -1) == masked.labels, weights


def _word_loss(
  model: Any, mask: Callable, params: Any, batch: Batch, key: jax.Array | None
) -> tuple[jax.Array, dict]:
  if key is None:
    masked = Masked(*(batch[name] for name in Masked._fields))
  else:
    masked = mask(jax.random.fold_in(key, 1), batch["ids"])
    key = jax.random.fold_in(key, 0)
  values, right, weights = _scored_words(model, params, batch, masked, key)
  value = weighted_mean(values, weights)
  return value, _sums(value, weights, accuracy=metrics.mean(right, weights))


def _word_sums(model: Any, params: Any, batch: Batch) -> jax.Array:
  """float32 [B, 3]: sums over the masked words of a row of cross-entropy, right ones, and number."""
  masked = Masked(*(batch[name] for name in Masked._fields))
  values, right, weights = _scored_words(model, params, batch, masked, None)
  return jnp.stack([(values * weights).sum(1), (right * weights).sum(1), weights.sum(1)], axis=1)


def _word_score(rows: np.ndarray) -> dict[str, float]:
  total, right, count = np.asarray(rows, np.float64).sum(0)
  return {"accuracy": float(right / count), "perplexity": float(np.exp(total / count))}
