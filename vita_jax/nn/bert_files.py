"""Hugging Face folders (config.json, model.safetensors) and parameter trees; nothing unpickles."""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vita_jax.base.files import read_json, write_bytes, write_json
from vita_jax.data.files import read_safetensors
from vita_jax.nn.bert_config import BertConfig
from vita_jax.nn.bert_heads import BertClassifier, BertMaskedLM, BertSpans

HEADS = {  # our name of the head -> the class of transformers that has it
  "classifier": "BertForSequenceClassification",
  "qa_outputs": "BertForQuestionAnswering",
  "mlm": "BertForMaskedLM",
}
# What `architectures` in a config.json may name -> our name of its head, "" for none.
ARCHITECTURES = {name: head for head, name in HEADS.items()} | {
  "BertModel": "",
  "BertForPreTraining": "mlm",
  "BertForNextSentencePrediction": "",  # its two-class head is never used here
}
TOKENIZER_FILES = (
  "vocab.txt",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
)
TIED = {  # stored twice in some files, and then equal
  "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
  "cls.predictions.decoder.bias": "cls.predictions.bias",
}
IGNORED = re.compile(r"bert\.embeddings\.position_ids$|cls\.seq_relationship\.")
RULES = (  # our '/'-joined path -> Hugging Face's name; the first pattern that matches
  (r"(.*)/layer_(\d+)/attention/(query|key|value)$", r"\1.layer.\2.attention.self.\3"),
  (r"(.*)/layer_(\d+)/attention/output$", r"\1.layer.\2.attention.output.dense"),
  (r"(.*)/layer_(\d+)/attention/layer_norm$", r"\1.layer.\2.attention.output.LayerNorm"),
  (r"(.*)/layer_(\d+)/(intermediate|output)$", r"\1.layer.\2.\3.dense"),
  (r"(.*)/layer_(\d+)/layer_norm$", r"\1.layer.\2.output.LayerNorm"),
  (r"bert/embeddings/layer_norm$", r"bert.embeddings.LayerNorm"),
  (r"bert/embeddings/(\w+)$", r"bert.embeddings.\1"),
  (r"bert/pooler$", r"bert.pooler.dense"),
  (r"mlm/transform$", r"cls.predictions.transform.dense"),
  (r"mlm/layer_norm$", r"cls.predictions.transform.LayerNorm"),
  (r"mlm$", r"cls.predictions"),
  (r"(classifier|qa_outputs)$", r"\1"),
)
LEAVES = {"kernel": "weight", "embedding": "weight", "scale": "weight", "bias": "bias"}


class Loaded(NamedTuple):
  """What a folder held.

  Attributes:
    config: its config.
    params: {"bert": ..., and the heads that it holds}, float32 numpy arrays.
    ignored: names of tensors that are known and not needed (next-sentence head, position ids, tied copies).
    absent: "pooler" where the file has none, as those of masked-LM and question-answering models.
  """

  config: BertConfig
  params: dict[str, Any]
  ignored: tuple[str, ...]
  absent: tuple[str, ...]


def load_bert(folder: str | os.PathLike) -> tuple[BertConfig, dict[str, Any]]:
  """Reads the config and the parameters of a Hugging Face folder; see `read_bert`."""
  loaded = read_bert(folder)
  return loaded.config, loaded.params


def read_bert(folder: str | os.PathLike) -> Loaded:
  """Reads a Hugging Face folder: `config.json` and `model.safetensors`, or the shards of its index.

  Raises:
    FileNotFoundError: no folder, config or weights.
    ValueError: a torch pickle; another architecture; tensors that are missing, unexpected or of another
      shape, by name; a damaged file.
  """
  config = BertConfig.from_pretrained(folder)
  folder = Path(folder).expanduser()
  try:
    head = _head_of(read_json(folder / "config.json", what="a config"))
    return from_tensors(config, _read_tensors(folder), head=head)
  except ValueError as error:
    raise ValueError(f"{folder}: {error}") from error


def _head_of(content: Mapping[str, Any]) -> str | None:
  """The head that the `architectures` of a config.json names; None where it names none."""
  name = next(iter(content.get("architectures") or ()), None)
  if name is None:
    return None
  if name not in ARCHITECTURES:
    raise ValueError(
      f"its architecture is {name}, whose head is not read: only {', '.join(ARCHITECTURES)} are. To use its"
      " encoder alone, save it where transformers is: AutoModel.from_pretrained(...).save_pretrained(...)"
    )
  return ARCHITECTURES[name]


def from_tensors(config: BertConfig, tensors: Mapping[str, np.ndarray], *, head: str | None = None) -> Loaded:
  """Makes parameters of tensors under their Hugging Face names (any of the spellings there have been).

  Args:
    config: sizes.
    tensors: name -> array.
    head: "classifier", "qa_outputs", "mlm", or "" for a bare encoder; None: what the names say.

  Raises:
    ValueError: see `read_bert`.
  """
  tensors = {_modern(name): x for name, x in tensors.items()}
  ignored = {name for name in tensors if IGNORED.match(name)}
  for copy, original in TIED.items():
    if copy in tensors:
      if original in tensors and not np.array_equal(tensors[copy], tensors[original]):
        raise ValueError(f"{copy} differs from {original}: only models that tie them are read")
      ignored.add(copy)
  if head is None:
    heads = tuple(h for h in HEADS if any(n.startswith(_head_prefix(h)) for n in set(tensors) - ignored))
  else:
    heads = (head,) if head else ()
  if "classifier.weight" in tensors:
    config = _with_labels(config, int(tensors["classifier.weight"].shape[0]))
  expected = shapes(config, heads)
  wanted = {hugging_face_name(path): path for path in expected}
  missing = sorted(set(wanted) - set(tensors))
  absent: tuple[str, ...] = ()
  # A classifier of whole texts needs the pooler: without one it is a classifier of tokens.
  if missing == ["bert.pooler.dense.bias", "bert.pooler.dense.weight"] and "classifier" not in heads:
    absent, missing = ("pooler",), []
  unexpected = sorted(set(tensors) - ignored - set(wanted))
  if missing or unexpected:
    parts = [
      f"{what} {_some(names)}" for what, names in (("missing", missing), ("unexpected", unexpected)) if names
    ]
    raise ValueError(f"its tensors are not those of the BERT that its config describes: {'; '.join(parts)}")
  params = {}
  for name, path in wanted.items():
    if name in tensors:
      x = _weights(name, tensors[name])
      shape = expected[path][::-1] if path[-1] == "kernel" else expected[path]
      if x.shape != shape:
        raise ValueError(f"tensor {name} has shape {list(x.shape)}, by its config it is {list(shape)}")
      params[path] = np.ascontiguousarray(x.T) if path[-1] == "kernel" else x
  return Loaded(config, unflatten_dict(params), tuple(sorted(ignored)), absent)


def _weights(name: str, tensor: np.ndarray) -> np.ndarray:
  """The tensor as float32; refuses what is no weight: integers, NaN, and numbers that float32 has not."""
  if not jnp.issubdtype(tensor.dtype, jnp.floating):
    raise ValueError(f"tensor {name} holds {tensor.dtype}, not floating numbers: export the weights again")
  with np.errstate(over="ignore"):
    x = np.asarray(tensor, np.float32)
  if not np.isfinite(x).all():
    raise ValueError(f"tensor {name} is not finite in float32: fetch or export the weights again")
  return x


def to_tensors(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Returns parameters under their Hugging Face names, in torch's layout; a bare BertModel has no prefix."""
  bare = not (set(params) - {"bert"})
  tensors = {}
  for path, leaf in flatten_dict(dict(params)).items():
    name = hugging_face_name(path)
    x = np.asarray(leaf, np.float32)
    x = np.ascontiguousarray(x.T if path[-1] == "kernel" else x)
    tensors[name.removeprefix("bert.") if bare else name] = x
  return tensors


def save_bert(
  folder: str | os.PathLike, config: BertConfig, params: Mapping[str, Any], *, vocab: str | os.PathLike = ""
) -> None:
  """Writes a folder that `load_bert` and `transformers` read.

  Args:
    folder: made where it is missing.
    config: `num_labels` is taken from the classifier, where there is one; `id2label` stays where it fits.
    params: {"bert": ...} with at most one head.
    vocab: folder of the tokenizer to go with it (see `TOKENIZER_FILES`), or a vocab.txt in it; "": none.

  Raises:
    ValueError: several heads, or unknown ones.
  """
  from safetensors.numpy import save

  heads = sorted(set(params) - {"bert"})
  if len(heads) > 1 or not set(heads) <= set(HEADS):
    raise ValueError(f"a folder holds one of the heads {', '.join(HEADS)}, not {', '.join(heads)}")
  if "classifier" in heads:
    config = _with_labels(config, int(np.shape(params["classifier"]["kernel"])[1]))
  folder = Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  architecture = HEADS[heads[0]] if heads else "BertModel"
  write_json(folder / "config.json", config.to_dict(architecture))
  write_bytes(folder / "model.safetensors", save(to_tensors(params), metadata={"format": "pt"}))
  source = Path(vocab) if not vocab or Path(vocab).is_dir() else Path(vocab).parent
  if vocab and source.resolve() != folder.resolve():
    for name in TOKENIZER_FILES:
      if (source / name).is_file():
        shutil.copyfile(source / name, folder / name)


def _with_labels(config: BertConfig, n: int) -> BertConfig:
  """The config with a classifier of n outputs; names that were another head's go."""
  return config._replace(num_labels=n, id2label=config.id2label if len(config.id2label) == n else ())


@functools.cache
def shapes(config: BertConfig, heads: tuple[str, ...] = ()) -> Mapping[tuple[str, ...], tuple[int, ...]]:
  """Returns path -> shape of every parameter of the encoder with its pooler, and of these heads."""
  builders = {
    "classifier": lambda: BertClassifier(config, config.num_labels),
    "qa_outputs": lambda: BertSpans(config),
    "mlm": lambda: BertMaskedLM(config),
  }
  found: dict[tuple[str, ...], tuple[int, ...]] = {}
  for head in ("classifier", *heads):
    tree = jax.eval_shape(builders[head]().init, jax.random.key(0), jnp.zeros((1, 1), jnp.int32))["params"]
    found |= {p: x.shape for p, x in flatten_dict(tree).items() if p[0] == "bert" or p[0] in heads}
  return MappingProxyType(found)


def hugging_face_name(path: tuple[str, ...]) -> str:
  """Returns the name of a parameter in Hugging Face files.

  Examples:
    >>> hugging_face_name(("bert", "pooler", "kernel"))
    'bert.pooler.dense.weight'

  Raises:
    ValueError: a path that no BERT has.
  """
  module = "/".join(path[:-1])
  for pattern, replacement in RULES:
    if match := re.match(pattern, module):
      return f"{match.expand(replacement).replace('/', '.')}.{LEAVES[path[-1]]}"
  raise ValueError(f"'{'/'.join(path)}' is not a parameter of a BERT")


def _modern(name: str) -> str:
  """Adds the prefix that bare models lack, and turns the gamma and beta of old files into weight and bias."""
  if re.match(r"(embeddings|encoder|pooler)\.", name):
    name = f"bert.{name}"
  return re.sub(
    r"LayerNorm\.(gamma|beta)$", lambda m: f"LayerNorm.{'weight' if m[1] == 'gamma' else 'bias'}", name
  )


def _head_prefix(head: str) -> str:
  return "cls.predictions." if head == "mlm" else f"{head}."


def _some(names: list[str]) -> str:
  return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _read_tensors(folder: Path) -> dict[str, np.ndarray]:
  """The tensors of model.safetensors, or those that its index names: no other file of the folder."""
  whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
  if whole.is_file():
    return read_safetensors(whole)
  if index.is_file():
    return _shards(folder, read_json(index, what="an index of shards"))
  pickles = sorted(p.name for p in folder.glob("pytorch_model*.bin"))
  if not pickles:
    raise FileNotFoundError(f"no weights in '{folder}': it has no model.safetensors")
  raise ValueError(
    f"{pickles[0]} is a torch pickle, which can run code and is never read; convert it where torch is:"
    f' python -c "{CONVERT}" {shlex.quote(str(folder))}'
  )


# Of torch and safetensors alone: a model class would drop the pooler, or a head that it does not have.
CONVERT = (
  "import glob, sys, torch; from safetensors.torch import save_file; f = sys.argv[1]; save_file({n:"
  " x.clone().contiguous() for p in sorted(glob.glob(f + '/pytorch_model*.bin')) for n, x in torch.load(p,"
  " map_location='cpu', weights_only=True).items()}, f + '/model.safetensors', {'format': 'pt'})"
)


def _shards(folder: Path, index: Mapping[str, Any]) -> dict[str, np.ndarray]:
  places = index.get("weight_map")
  if not isinstance(places, dict) or not places:
    raise ValueError("model.safetensors.index.json has no weight_map: fetch it again")
  found: dict[str, np.ndarray] = {}
  for shard in sorted(set(places.values())):
    if Path(shard).name != shard or not (folder / shard).is_file():
      raise FileNotFoundError(f"no shard '{shard}' in '{folder}', which its index names: fetch it")
    tensors = read_safetensors(folder / shard)
    wanted = [name for name, place in places.items() if place == shard]
    if absent := [name for name in wanted if name not in tensors]:
      raise ValueError(f"{shard} lacks {_some(absent)}, which the index says it has: fetch it again")
    found |= {name: tensors[name] for name in wanted}
  return found
