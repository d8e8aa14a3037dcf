"""What a user takes away: tickets as bits with the hash of θ0, sparse weights, a Hugging Face folder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax import compress
from vita_jax.data import text_squad
from vita_jax.nn.bert import save_bert
from vita_jax.papers.bert_tickets.data import read_rows, windows_of
from vita_jax.papers.bert_tickets.model import Start, theta0
from vita_jax.papers.bert_tickets.recipe import Recipe
from vita_jax.papers.bert_tickets.tasks import BEST_SPANS, Task
from vita_jax.train.experiment import Exported, State

ROWS_PER_CALL = 64  # of launch/predict.py: attention takes memory


def make_export(
  recipe: Recipe, start: Start, task: Task, fresh: Callable[[jax.Array], Any], state: State
) -> Exported:
  """Makes the exported form of a finished run of one seed: its last model, and the masks of all tickets."""
  params = state["params"]
  masks = {name: compress.unpack(packed, params) for name, packed in state["tickets"].items()}
  # From random weights θ0 is another for each seed: the seed's own is meant.
  first = start.pretrained or theta0(fresh, state["key"], {})
  digest = compress.weights_sha256(first, compress.chosen(first, start.select))
  width = recipe.data.max_length
  return Exported(
    params=params,
    program=functools.partial(_program, recipe.task, task),
    inputs={name: (f"rows, {width}", "int32") for name in ("ids", "mask", "types")},
    read=functools.partial(read_rows, recipe, start),
    decode=functools.partial(_decode, recipe, start, task),
    rows_per_call=ROWS_PER_CALL,
    write=functools.partial(_write, recipe, start, task, state, masks, digest),
    card={
      "inputs": {
        "ids": f"WordPiece ids with [CLS] and [SEP], padded to {width}",
        "mask": "1 for tokens, 0 for padding",
        "types": "1 for the tokens of second texts",
      },
      "classes": list(task.classes),
      "theta0": {"model": recipe.model.path, "sha256": digest},
      "tickets": {name: _facts(params, one) for name, one in masks.items()},
      "pruned matrices": start.select,
      "trained on": {"task": recipe.task, "texts": len(task.train.source)},
    },
  )


def _program(
  name: str, task: Task, params: Any, *, ids: jax.Array, mask: jax.Array, types: jax.Array
) -> dict[str, jax.Array]:
  outputs = task.model.apply({"params": params}, ids, mask, types)
  if name == "squad":
    return {"start_logits": outputs[..., 0], "end_logits": outputs[..., 1]}
  if name == "mlm":
    return {"ids": jnp.argmax(outputs, axis=-1).astype(jnp.int32)}
  if not task.classes:
    return {"scores": outputs[:, 0]}
  probabilities = jax.nn.softmax(outputs, axis=-1)
  return {"labels": jnp.argmax(probabilities, axis=-1).astype(jnp.int32), "probabilities": probabilities}


def _decode(
  recipe: Recipe, start: Start, task: Task, path: str, outputs: Mapping[str, Any]
) -> dict[str, np.ndarray]:
  """What a user reads: names of the classes, or answers with their ids and places in the contexts."""
  if recipe.task != "squad":
    return {"classes": np.array(task.classes)} if task.classes else {}
  questions, windows = windows_of(recipe, start, path)
  best = text_squad.best_of_logits(outputs["start_logits"], outputs["end_logits"], windows, k=BEST_SPANS)
  answers = text_squad.best_answers(questions, windows, best)
  return {
    "window_question": windows.question,
    "id": np.array([q.id for q in questions]),
    "answer": np.array([answer.text for answer in answers]),
    "answer_start": np.array([answer.start for answer in answers], np.int32),
    "answer_end": np.array([answer.end for answer in answers], np.int32),
    "answer_score": np.array([answer.score for answer in answers], np.float32),
  }


def _write(
  recipe: Recipe,
  start: Start,
  task: Task,
  state: State,
  masks: Mapping[str, compress.Masks],
  digest: str,
  folder: Path,
) -> None:
  params = state["params"]
  card = {"task": recipe.task, "method": recipe.method, "model": recipe.model.path}  # seed: in card.json
  for name, one in masks.items():
    compress.save_ticket(folder / f"ticket_{name}.safetensors", compress.Ticket(one, digest, card))
  if masks:
    compress.save_sparse(folder / "sparse.safetensors", params, compress.unpack(state["masks"], params))
  bert = start.config._replace(id2label=task.classes)  # not those of a head that the folder of θ0 had
  save_bert(folder / "hugging_face", bert, jax.device_get(params), vocab=start.folder)


def _facts(params: Any, masks: compress.Masks) -> dict[str, Any]:
  layers = {name: round(share, 4) for name, share in compress.layer_sparsity(masks).items()}
  return {
    "sparsity": float(np.round(compress.sparsity(masks), 6)),
    "bytes": compress.sizes(params, masks),
    "layers": layers,
  }
