"""The shape of a BERT, as a `config.json` of Hugging Face says it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")  # "gelu" is the one with erf


class BertConfig(NamedTuple):
  """Sizes and constants of a BERT encoder; the defaults are BERT-base-uncased.

  Names and meaning are those of Hugging Face's `config.json`. `num_labels` is that of the classification
  head; dropout rates are in [0, 1).
  """

  vocab_size: int = 30522
  hidden_size: int = 768
  num_hidden_layers: int = 12
  num_attention_heads: int = 12
  intermediate_size: int = 3072
  hidden_act: str = "gelu"
  hidden_dropout_prob: float = 0.1
  attention_probs_dropout_prob: float = 0.1
  max_position_embeddings: int = 512
  type_vocab_size: int = 2
  initializer_range: float = 0.02
  layer_norm_eps: float = 1e-12
  pad_token_id: int = 0
  num_labels: int = 2

  @classmethod
  def from_dict(cls, content: dict[str, Any]) -> BertConfig:
    """The config of a parsed `config.json`; keys that do not shape the forward pass are ignored.

    Raises:
      ValueError: another architecture, or one that this encoder does not compute.
    """
    kind = content.get("model_type", "bert")
    if kind != "bert":
      raise ValueError(f"its model_type is '{kind}', not 'bert': only BERT encoders are read")
    if content.get("is_decoder") or content.get("add_cross_attention"):
      raise ValueError("it is a decoder (is_decoder or add_cross_attention): only encoders are read")
    positions = content.get("position_embedding_type", "absolute")
    if positions != "absolute":
      raise ValueError(f"its position_embedding_type is '{positions}': only 'absolute' is read")
    known = {name: content[name] for name in cls._fields if content.get(name) is not None}
    if "num_labels" not in known and content.get("id2label"):
      known["num_labels"] = len(content["id2label"])
    return cls(**known).checked()

  @classmethod
  def from_pretrained(cls, folder: str | os.PathLike) -> BertConfig:
    """The config of a Hugging Face folder.

    Raises:
      FileNotFoundError: no folder, or no `config.json` in it.
      ValueError: see `from_dict`; or it is no JSON.
    """
    path = Path(folder).expanduser() / "config.json"
    if not path.is_file():
      what = "there is no such folder" if not path.parent.is_dir() else "it has no config.json"
      raise FileNotFoundError(
        f"no BERT in '{folder}': {what}; give a Hugging Face folder (config.json,"
        " model.safetensors, vocab.txt)"
      )
    try:
      content = json.loads(path.read_text(encoding="utf-8"))
      if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
      return cls.from_dict(content)
    except (ValueError, TypeError) as error:
      raise ValueError(f"{path}: {error}") from error

  def checked(self) -> BertConfig:
    """The config itself, if its numbers can be.

    Raises:
      ValueError: a size below 1, heads that do not divide the hidden size, an unknown activation, a rate
        outside [0, 1).
    """
    sizes = (
      "vocab_size",
      "hidden_size",
      "num_hidden_layers",
      "num_attention_heads",
      "intermediate_size",
      "max_position_embeddings",
      "type_vocab_size",
      "num_labels",
    )
    for name in sizes:
      value = getattr(self, name)
      if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}: it has to be a whole number of at least 1")
    if self.hidden_size % self.num_attention_heads:
      raise ValueError(
        f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {self.num_attention_heads}"
      )
    if self.hidden_act not in ACTIVATIONS:
      raise ValueError(f"hidden_act is '{self.hidden_act}': choose one of {', '.join(ACTIVATIONS)}")
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
      if not 0 <= getattr(self, name) < 1:
        raise ValueError(f"{name} is {getattr(self, name)}: it has to be in [0, 1)")
    return self

  def to_dict(self, architecture: str) -> dict[str, Any]:
    """The content of a `config.json` that `transformers` reads; `architecture` e.g. "BertModel"."""
    content: dict[str, Any] = {
      "model_type": "bert",
      "architectures": [architecture],
      "torch_dtype": "float32",
    }
    content |= {name: value for name, value in self._asdict().items() if name != "num_labels"}
    if self.num_labels != 2:  # transformers knows the number of labels by their names
      content["id2label"] = {str(i): f"LABEL_{i}" for i in range(self.num_labels)}
      content["label2id"] = {f"LABEL_{i}": i for i in range(self.num_labels)}
    return content
