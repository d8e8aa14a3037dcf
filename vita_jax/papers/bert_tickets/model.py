"""The model before any training here: θ0, its sizes, its vocabulary, and which of its weights are pruned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from vita_jax.data.text_tokens import load_tokenizer
from vita_jax.data.tfds_files import tfds_dir
from vita_jax.nn.bert import PRUNABLE, BertConfig, read_bert
from vita_jax.papers.bert_tickets.recipe import Recipe

# Names that launch/prepare_data.py turns into folders.
PREPARED = ("minilm_l3",)
INIT = 0  # of the streams of a seed's key, see `stages`


class Start(NamedTuple):
  """A model before any training here.

  Attributes:
    config: its sizes. pretrained: {"bert": ...} numpy arrays, or {} to start from random weights.
    tokenizer: of its vocabulary. folder: of that vocabulary.
    pooler: whether the pooler is pre-trained (or all is random), so that it belongs to the encoder and is
      pruned; a fresh one belongs to the head.
  """

  config: BertConfig
  pretrained: dict[str, Any]
  tokenizer: Any
  folder: Path
  pooler: bool

  @property
  def select(self) -> str:
    """Regular expression of the leaves that are pruned."""
    return PRUNABLE if self.pooler else r"^bert/encoder/.+/kernel$"

  @property
  def head(self) -> str:
    """Regular expression of the leaves of the head: those that are not pre-trained."""
    if "mlm" in self.pretrained:
      return r"(?!)"  # its head goes back to θ0 with the rest
    return r"^(?!bert/)" if self.pooler else r"^((?!bert/)|bert/pooler/)"


def model_folder(path: str) -> Path:
  """Finds the folder of a model: a path, or the name of one that was prepared.

  Raises:
    FileNotFoundError: it is not there; the message says how to get it.
  """
  for folder in (Path(path).expanduser(), tfds_dir() / path):
    if (folder / "config.json").is_file():
      return folder
  if path in PREPARED:
    how = f"run python launch/prepare_data.py --dataset={path}"
  else:
    how = (
      f"fetch it, e.g. hf download google-bert/bert-base-uncased --local-dir={path}, or give your own folder"
    )
  raise FileNotFoundError(f"no BERT at config.model.path='{path}' (config.json is missing): {how}")


def read_start(recipe: Recipe) -> Start:
  """Reads the model that a recipe names.

  Raises:
    FileNotFoundError, ValueError: it is missing or unusable, see `read_bert` and `load_tokenizer`; or it has
      fewer positions than `data.max_length`.
  """
  start = _read_folder(recipe) if recipe.model.path else _random(recipe)
  positions, length = start.config.max_position_embeddings, recipe.data.max_length
  if length > positions:
    raise ValueError(f"config.data.max_length is {length}, the model has {positions} positions")
  return start


def _read_folder(recipe: Recipe) -> Start:
  folder = model_folder(recipe.model.path)
  loaded = read_bert(folder)
  vocab = Path(recipe.model.vocab or folder).expanduser()
  tokenizer = load_tokenizer(vocab, vocab_size=loaded.config.vocab_size)
  pretrained = {"bert": loaded.params["bert"]}
  if recipe.task == "mlm" and "mlm" in loaded.params:
    pretrained["mlm"] = loaded.params["mlm"]
  return Start(loaded.config, pretrained, tokenizer, vocab, "pooler" not in loaded.absent)


def _random(recipe: Recipe) -> Start:
  model = recipe.model
  if not model.vocab:
    raise ValueError(
      "a model from random weights needs a vocabulary: config.model.vocab=FOLDER with a vocab.txt"
      " (vita_jax.data.text_tokens.train_vocabulary makes one of your texts)"
    )
  tokenizer = load_tokenizer(model.vocab)
  bert = BertConfig(
    vocab_size=tokenizer.get_vocab_size(),
    hidden_size=model.hidden_size,
    num_hidden_layers=model.num_hidden_layers,
    num_attention_heads=model.num_attention_heads,
    intermediate_size=model.intermediate_size,
    max_position_embeddings=max(512, recipe.data.max_length),
    hidden_dropout_prob=model.dropout,
    attention_probs_dropout_prob=model.dropout,
    pad_token_id=tokenizer.token_to_id("[PAD]"),
  ).checked()
  return Start(bert, {}, tokenizer, Path(model.vocab).expanduser(), True)


def theta0(fresh: Callable[[jax.Array], Any], key: jax.Array, pretrained: Any) -> Any:
  """Makes (θ0, γ0): the pre-trained weights where there are any, else random ones, the same at every call.

  A pre-trained pooler stays in tasks that do not use it: it is pruned, so that the tickets of all tasks have
  the same matrices.

  Args:
    fresh: `key -> params`, all weights random.
    key: of the seed.
    pretrained: a part of that tree, or {}.
  """
  return overlaid(fresh(jax.random.fold_in(key, INIT)), pretrained)


def overlaid(tree: Any, over: Any) -> Any:
  """Returns a tree of dicts with the leaves of `over` in place of, or beside, its own."""
  if not isinstance(tree, dict):
    return over
  return tree | {k: overlaid(tree.get(k), v) for k, v in over.items()}
