"""From a config to the model and the token arrays: where weights, vocabulary and texts come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vita_jax.data import text, text_squad, text_tokens
from vita_jax.data.text_tokens import Tokens
from vita_jax.data.tfds_files import tfds_dir
from vita_jax.nn.bert import BertConfig, read_bert

# Names that launch/prepare_data.py turns into folders, and how to get others.
PREPARED = ("minilm_l3",)


class Start(NamedTuple):
  """A model before any training here.

  Attributes:
    config: its sizes. pretrained: {"bert": ...} numpy arrays, or {} to start from random weights.
    tokenizer: of its vocabulary. folder: of that vocabulary. pooler: whether the pooler is pre-trained (or
    all is random), so that it belongs to the encoder and is pruned; a fresh one belongs to the head.
  """

  config: BertConfig
  pretrained: dict[str, Any]
  tokenizer: Any
  folder: Path
  pooler: bool


def model_folder(path: str) -> Path:
  """The folder of a model: a path, or the name of one that was prepared.

  Raises:
    FileNotFoundError: it is not there; names the way to get it.
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


def read_start(config: Any) -> Start:
  """The model that a config names.

  Raises:
    FileNotFoundError, ValueError: it is missing or unusable, see `read_bert` and `load_tokenizer`;
      `init_from`.
  """
  if config.init_from:
    raise ValueError(
      "config.init_from is not for tickets, which start from θ0: export that run and give its"
      " export/hugging_face as config.model.path"
    )
  if config.model.path:
    folder = model_folder(config.model.path)
    loaded = read_bert(folder)
    vocab = Path(config.model.vocab or folder).expanduser()
    tokenizer = text_tokens.load_tokenizer(vocab, vocab_size=loaded.config.vocab_size)
    pretrained = {"bert": loaded.params["bert"]}
    if config.task == "mlm" and "mlm" in loaded.params:
      pretrained["mlm"] = loaded.params["mlm"]  # its head is pre-trained, too
    return Start(loaded.config, pretrained, tokenizer, vocab, "pooler" not in loaded.absent)
  if not config.model.vocab:
    raise ValueError(
      "a model from random weights needs a vocabulary: config.model.vocab=FOLDER with a vocab.txt"
    )
  tokenizer = text_tokens.load_tokenizer(config.model.vocab)
  sizes = {
    name: config.model[name]
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
  }
  bert = BertConfig(
    vocab_size=tokenizer.get_vocab_size(),
    max_position_embeddings=max(512, config.data.max_length),
    hidden_dropout_prob=config.model.dropout,
    attention_probs_dropout_prob=config.model.dropout,
    pad_token_id=tokenizer.token_to_id("[PAD]"),
    **sizes,
  ).checked()
  return Start(bert, {}, tokenizer, Path(config.model.vocab).expanduser(), True)


def read_texts(config: Any) -> dict[str, text.Texts]:
  """The training split ("train") and the development splits of a classification or regression task.

  Raises:
    ValueError, FileNotFoundError: see `load_glue` and `read_tsv`.
  """
  known = text.GLUE.get(config.task)
  if not config.data.train:
    if known is None:
      raise ValueError(
        f"task '{config.task}' has no data of its own: give --config.data.train=FILE.tsv and"
        " --config.data.dev=FILE.tsv"
      )
    splits = text.load_glue(config.task)
  else:
    if not config.data.dev:
      raise ValueError("config.data.train is given without config.data.dev: both are needed")
    classes = known.classes if known else () if config.data.kind == "regression" else None
    train = text.read_tsv(config.data.train, classes=classes)
    splits = {"train": train, "validation": text.read_tsv(config.data.dev, classes=train.classes)}
  limits = {"train": config.data.train_rows}
  return {split: _first(texts, limits.get(split, config.data.dev_rows)) for split, texts in splits.items()}


def tokenized(start: Start, texts: text.Texts, config: Any) -> Tokens:
  """Ids of texts, cut to `config.data.max_length`."""
  check_length(start, config)
  return text_tokens.tokenize(start.tokenizer, texts.first, texts.second, max_length=config.data.max_length)


def check_length(start: Start, config: Any) -> None:
  """Raises ValueError where `data.max_length` is beyond the positions of the model."""
  positions = start.config.max_position_embeddings
  if config.data.max_length > positions:
    raise ValueError(
      f"config.data.max_length is {config.data.max_length}, the model has {positions} positions"
    )


def read_questions(config: Any) -> dict[str, list[text_squad.Question]]:
  """SQuAD's splits "train" and "validation": a user's JSON files, or TFDS."""
  limits = {"train": config.data.train_rows, "validation": config.data.dev_rows}
  files = {"train": config.data.train, "validation": config.data.dev}
  read = lambda s: text_squad.read_squad(files[s]) if files[s] else text_squad.load_squad(s)  # noqa: E731
  return {s: [found[i] for i in _order(len(found), limits[s])] for s in files for found in [read(s)]}


def read_blocks(start: Start, config: Any) -> dict[str, np.ndarray]:
  """Blocks of text for masked-LM, int32 [n, max_length]; without a file for development, every 20th block.

  Raises:
    ValueError, FileNotFoundError: no file is named, or see `text.read_text` and `text_tokens.blocks`.
  """
  check_length(start, config)
  if not config.data.train:
    raise ValueError("masked-LM needs a text: give --config.data.train=FILE.txt")

  def cut(path):
    return text_tokens.blocks(start.tokenizer, text.read_text(path), length=config.data.max_length)

  train = cut(config.data.train)
  if config.data.dev:
    dev = cut(config.data.dev)
  elif len(train) < 20:
    raise ValueError(
      f"{config.data.train} makes {len(train)} blocks: give more text, or config.data.dev as well"
    )
  else:
    held = np.arange(len(train)) % 20 == 19
    train, dev = train[~held], train[held]
  return {
    "train": train[_order(len(train), config.data.train_rows)],
    "validation": dev[: config.data.dev_rows or None],
  }


def _order(n: int, limit: int) -> np.ndarray:
  """All rows as they are, or `limit` of them drawn by a generator of fixed seed: files are often sorted."""
  return np.random.default_rng(0).permutation(n)[:limit] if 0 < limit < n else np.arange(n)


def _first(texts: text.Texts, limit: int) -> text.Texts:
  rows = _order(len(texts.first), limit)
  pick = lambda values: None if values is None else [values[i] for i in rows]  # noqa: E731
  return text.Texts(pick(texts.first), pick(texts.second), texts.labels[rows], texts.classes)
