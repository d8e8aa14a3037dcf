"""The WordPiece tokenizer of a model folder, with exactly the ids that transformers gives.

What a folder says of its tokenizer is honoured, or refused by name: lower case, accents, Chinese characters,
added tokens; from vocab.txt or from tokenizer.json, which is all that transformers 5 writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vita_jax.base.files import JSON_LIMIT, read_json
from vita_jax.data.files_text import read_text

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Classes of transformers that are this tokenizer; the last two are what their tokenizer.json is.
CLASSES = tuple(
  f"{name}Tokenizer{fast}" for name in ("Bert", "DistilBert", "Electra") for fast in ("", "Fast")
)
GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")
# Key of tokenizer_config.json -> (key of the normalizer in tokenizer.json, transformers' default).
SETTINGS: dict[str, tuple[str, bool | None]] = {
  "do_lower_case": ("lowercase", True),
  "strip_accents": ("strip_accents", None),  # None: as do_lower_case
  "tokenize_chinese_chars": ("handle_chinese_chars", True),
}
# Keys whose other values change ids in a way that is not computed here -> the values that do not.
NEUTRAL: dict[str, tuple[Any, ...]] = {
  "do_basic_tokenize": (True, None),
  "never_split": ((), [], None),
  "truncation_side": ("right", None),
  "split_special_tokens": (False, None),
}


def load_tokenizer(folder: str | os.PathLike, *, vocab_size: int | None = None) -> Any:
  """Loads the WordPiece tokenizer of a Hugging Face folder as a `tokenizers.Tokenizer`.

  Args:
    folder: with a vocab.txt, one token per line, or a tokenizer.json; and perhaps tokenizer_config.json,
      special_tokens_map.json, added_tokens.json.
    vocab_size: rows of the embedding that it must match; at most 63 may be left over (padded tables).

  Raises:
    FileNotFoundError: neither file is there.
    ValueError: a tokenizer that is not BERT's, a setting that is not honoured here, files that contradict
      each other, a special token that is missing, or another number of tokens than rows.
  """
  folder = Path(folder).expanduser()
  settings = _settings(folder)
  whole, lines = folder / "tokenizer.json", folder / "vocab.txt"
  if whole.is_file():
    tokenizer = _from_json(whole, settings)
    if lines.is_file() and (other := _differing(tokenizer.get_vocab(), _read_vocab(lines))):
      raise ValueError(f"{whole} and vocab.txt give '{other}' different ids: delete the file that is wrong")
  elif lines.is_file():
    tokenizer = _from_vocab(_read_vocab(lines), settings)
  else:
    raise FileNotFoundError(
      f"no vocabulary in {folder}: put the model's vocab.txt (one token per line) or tokenizer.json there"
    )
  _add_tokens(tokenizer, settings, folder)
  tokenizer.no_padding()
  tokenizer.no_truncation()
  size = max(tokenizer.get_vocab().values()) + 1
  if missing := [token for token in SPECIAL if tokenizer.token_to_id(token) is None]:
    raise ValueError(f"the vocabulary in {folder} lacks {', '.join(missing)}: it is not that of a BERT")
  if vocab_size is not None and not 0 <= vocab_size - size < 64:
    raise ValueError(
      f"the vocabulary in {folder} has {size} tokens, but the word embeddings have {vocab_size} rows:"
      " they are not of one model"
    )
  return tokenizer


def _settings(folder: Path) -> dict[str, Any]:
  """What tokenizer_config.json and special_tokens_map.json say, checked."""
  found: dict[str, Any] = {}
  for name in ("special_tokens_map.json", "tokenizer_config.json"):
    if (folder / name).is_file():
      found |= read_json(folder / name, what="the settings of a tokenizer")
  kind = found.get("tokenizer_class")
  if kind is not None and kind not in (*CLASSES, *GENERIC):
    raise ValueError(f"the tokenizer in {folder} is a {kind}: only BERT's WordPiece is read")
  for key, neutral in NEUTRAL.items():
    if found.get(key) not in neutral:
      raise ValueError(
        f"{folder}/tokenizer_config.json sets {key} to {found[key]}, which is not honoured here"
      )
  for key in SETTINGS:
    if not isinstance(found.get(key), bool | None):
      raise ValueError(f"{folder}/tokenizer_config.json sets {key} to {found[key]!r}, not to true or false")
  for token in SPECIAL:
    key = f"{token[1:-1].lower()}_token"
    if (value := _content(found.get(key, token))) not in (token, None):
      raise ValueError(f"the {key} in {folder} is '{value}': only the usual {token} is read")
  return found


def _content(token: Any) -> Any:
  """The text of a token, which files give plainly or as an object."""
  return token.get("content") if isinstance(token, dict) else token


def _read_vocab(path: Path) -> dict[str, int]:
  return {token: i for i, token in enumerate(read_text(path, limit=JSON_LIMIT).split("\n")) if token}


def _from_vocab(vocab: dict[str, int], settings: Mapping[str, Any]) -> Any:
  from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

  tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
  values = {name: settings.get(key, default) for key, (name, default) in SETTINGS.items()}
  tokenizer.normalizer = normalizers.BertNormalizer(clean_text=True, **values)
  tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  tokenizer.add_special_tokens([token for token in SPECIAL if token in vocab])
  ends = [(token, vocab.get(token, 0)) for token in ("[SEP]", "[CLS]")]
  tokenizer.post_processor = processors.BertProcessing(*ends)
  return tokenizer


def _from_json(path: Path, settings: Mapping[str, Any]) -> Any:
  from tokenizers import Tokenizer

  content = read_json(path, what="a tokenizer.json")
  model, normalizer = content.get("model") or {}, content.get("normalizer") or {}
  parts = {
    "model": model.get("type", "WordPiece" if "continuing_subword_prefix" in model else None),
    "normalizer": normalizer.get("type"),
    "pre_tokenizer": (content.get("pre_tokenizer") or {}).get("type"),
  }
  for part, kind in {
    "model": "WordPiece",
    "normalizer": "BertNormalizer",
    "pre_tokenizer": "BertPreTokenizer",
  }.items():
    if parts[part] != kind:
      raise ValueError(
        f"the {part} in {path} is {parts[part]}, not {kind}: it is not the tokenizer of a BERT"
      )
  if (model.get("unk_token"), model.get("continuing_subword_prefix")) != ("[UNK]", "##"):
    raise ValueError(f"{path} marks unknown words or pieces in another way than [UNK] and ##")
  if settings.get("tokenizer_class") not in GENERIC:
    # A BertTokenizer of transformers goes by the settings, or its defaults, not by this file.
    for key, (name, default) in SETTINGS.items():
      if settings.get(key, default) != normalizer.get(name, default):
        raise ValueError(
          f"{path} says {name}={json.dumps(normalizer.get(name))}, tokenizer_config.json"
          f" {key}={json.dumps(settings.get(key, default))}: make them agree"
        )
  try:
    return Tokenizer.from_str(json.dumps(content))
  except Exception as error:  # the binding raises bare Exception
    raise ValueError(f"{path} is not a readable tokenizer.json ({error})") from error


def _differing(one: Mapping[str, int], other: Mapping[str, int]) -> str:
  """A token of `other` that `one` has under another id or not at all; "" if there is none."""
  return next((token for token, i in other.items() if one.get(token) != i), "")


def _added(settings: Mapping[str, Any], folder: Path) -> Iterator[tuple[int | None, Any]]:
  """(id, token) of all that is added to the vocabulary; None: the next free id."""
  from tokenizers import AddedToken

  for number, token in sorted((settings.get("added_tokens_decoder") or {}).items(), key=lambda x: int(x[0])):
    flags = {k: token.get(k, False) for k in ("single_word", "lstrip", "rstrip", "normalized", "special")}
    yield int(number), AddedToken(token["content"], **flags)
  if (folder / "added_tokens.json").is_file():
    listed = read_json(folder / "added_tokens.json", what="a list of added tokens")
    for content, number in sorted(listed.items(), key=lambda x: x[1]):
      yield number, AddedToken(content)
  for key in ("additional_special_tokens", "extra_special_tokens"):
    more = settings.get(key) or ()
    for token in more.values() if isinstance(more, dict) else more:
      yield None, AddedToken(_content(token), special=True, normalized=False)


def _add_tokens(tokenizer: Any, settings: Mapping[str, Any], folder: Path) -> None:
  """Adds what the settings add.

  Raises:
    ValueError: a token that would get another id than its files say.
  """
  known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
  for number, token in _added(settings, folder):
    if token.content not in known:
      tokenizer.add_special_tokens([token]) if token.special else tokenizer.add_tokens([token])
      known.add(token.content)
    found = tokenizer.token_to_id(token.content)
    if number is not None and found != number:
      raise ValueError(
        f"the added token '{token.content}' in {folder} has the id {number}, here it gets {found}"
      )
