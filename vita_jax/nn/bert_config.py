"""The shape of a BERT, as a `config.json` of Hugging Face says it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from vita_jax.base.files import read_json

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")  # "gelu" is the one with erf


class BertConfig(NamedTuple):
  """Sizes and constants of a BERT encoder; the defaults are BERT-base-uncased.

  Names and meaning are those of Hugging Face's `config.json`. `num_labels` is that of the classification
  head, `id2label` the names of its classes in order (empty: they have none); dropout rates are in [0, 1).
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
  id2label: tuple[str, ...] = ()

  @classmethod
  def from_dict(cls, content: dict[str, Any]) -> BertConfig:
    """Makes the config of a parsed `config.json`; keys that do not shape the forward pass are ignored.

    Raises:
      ValueError: another model type, or something that this encoder does not compute.
    """
    kind = content.get("model_type", "bert")
    if kind != "bert":
      raise ValueError(f"its model_type is '{kind}', not 'bert': only BERT encoders are read")
    if content.get("is_decoder") or content.get("add_cross_attention"):
      raise ValueError("it is a decoder (is_decoder or add_cross_attention): only encoders are read")
    positions = content.get("position_embedding_type", "absolute")
    if positions != "absolute":
      raise ValueError(f"its position_embedding_type is '{positions}': only 'absolute' is read")
    own = content.get("classifier_dropout")
    if own is not None and own != content.get("hidden_dropout_prob", own):
      raise ValueError(
        f"its classifier_dropout is {own}, its hidden_dropout_prob {content['hidden_dropout_prob']}: only"
        " equal rates are computed, set classifier_dropout to null"
      )
    known = {name: content[name] for name in cls._fields if content.get(name) is not None}
    names = _label_names(known.pop("id2label", {}))
    if names:
      if known.setdefault("num_labels", len(names)) != len(names):
        raise ValueError(f"num_labels is {known['num_labels']}, but id2label has {len(names)} names")
      if any(name != f"LABEL_{i}" for i, name in enumerate(names)):  # what transformers writes for "no name"
        known["id2label"] = names
    return cls(**known).checked()

  @classmethod
  def from_pretrained(cls, folder: str | os.PathLike) -> BertConfig:
    """Reads the config of a Hugging Face folder.

    Raises:
      FileNotFoundError: no folder, or no `config.json` in it.
      ValueError: see `from_dict`; or it is not JSON.
    """
    path = Path(folder).expanduser() / "config.json"
    if not path.is_file():
      what = "there is no such folder" if not path.parent.is_dir() else "it has no config.json"
      raise FileNotFoundError(
        f"no BERT in '{folder}': {what}; give a Hugging Face folder (config.json,"
        " model.safetensors, vocab.txt)"
      )
    content = read_json(path, what="the config of a BERT")
    try:
      return cls.from_dict(content)
    except (ValueError, TypeError) as error:
      raise ValueError(f"{path}: {error}") from error

  def checked(self) -> BertConfig:
    """Returns the config itself, if its numbers are possible.

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
        raise ValueError(f"{name} is {value!r}: it must be a whole number of at least 1")
    if self.hidden_size % self.num_attention_heads:
      raise ValueError(
        f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
      )
    if self.hidden_act not in ACTIVATIONS:
      raise ValueError(f"hidden_act is '{self.hidden_act}': choose one of {', '.join(ACTIVATIONS)}")
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
      if not 0 <= getattr(self, name) < 1:
        raise ValueError(f"{name} is {getattr(self, name)}: it must be in [0, 1)")
    return self

  def to_dict(self, architecture: str) -> dict[str, Any]:
    """Returns the content of a `config.json` that `transformers` reads; `architecture` e.g. "BertModel"."""
    content: dict[str, Any] = {
      "model_type": "bert",
      "architectures": [architecture],
      "torch_dtype": "float32",
    }
    own = ("num_labels", "id2label")
    content |= {name: value for name, value in self._asdict().items() if name not in own}
    if self.num_labels != 2 or self.id2label:  # transformers knows the number of labels by their names
      names = self.id2label or [f"LABEL_{i}" for i in range(self.num_labels)]
      content["id2label"] = {str(i): name for i, name in enumerate(names)}
      content["label2id"] = {name: i for i, name in enumerate(names)}
    return content


def _label_names(id2label: dict[str, str]) -> tuple[str, ...]:
  """The names of a config.json's `id2label` in the order of their numbers."""
  names = {int(number): str(name) for number, name in id2label.items()}
  if sorted(names) != list(range(len(names))):
    raise ValueError(f"id2label numbers its labels {sorted(names)}, not 0 to {len(names) - 1}")
  return tuple(names[i] for i in range(len(names)))
