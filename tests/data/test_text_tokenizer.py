"""Tokenizers of model folders: ids equal to those of transformers, and what is refused by name."""

import json
import os

import pytest

from vita_jax.data.text_tokenizer import SPECIAL, load_tokenizer

WORDS = (
  "the a cafe café Cafe CAFE 中 中国 国 ##国 hello world ##s ! , . [ ] ent ##ent x ##x e straße strasse"
  " Straße naive naïve 東京 tokyo ' don t İ i ##̇"
).split()
VOCAB = [*SPECIAL, *WORDS]
TEXTS = [
  "Café 中国 hello, worlds!",
  "CAFE naïve Straße STRASSE İ cafe\u0301",
  "a [ENT] x[MASK]hello  [ent] \u200b\x00\ufffdhello\u00a0world\tthe\r\n",
  "hello[SEP]world <new> the<new>s <NEW> [CLS]",
  "don't 東京tokyo" + "x" * 101,
  "",
  "🙂 \U0001f600\ud7ff ﬁ ① Ⅷ",
]
CASES = {
  "plain": ({}, {}),
  "accents_stay": ({"strip_accents": False}, {}),
  "accents_go_cased": ({"strip_accents": True, "do_lower_case": False}, {}),
  "cased": ({"do_lower_case": False}, {}),
  "chinese_words": ({"tokenize_chinese_chars": False, "tokenizer_class": "BertTokenizerFast"}, {}),
  "added": ({}, {"added_tokens.json": {"[ENT]": len(VOCAB), "<new>": len(VOCAB) + 1}}),
  "added_special": ({"additional_special_tokens": ["[ENT]", "<new>"]}, {}),
  "special_map": (
    {},
    {"special_tokens_map.json": {"additional_special_tokens": ["<new>"], "cls_token": "[CLS]"}},
  ),
  "decoder": (
    {
      "added_tokens_decoder": {
        str(len(VOCAB)): {"content": "[ENT]", "special": True, "lstrip": True, "normalized": False},
        str(len(VOCAB) + 1): {"content": "<new>", "special": False, "single_word": True, "normalized": True},
      }
    },
    {},
  ),
}


def _folder(path, settings, files=(), vocab=VOCAB):
  path.mkdir()
  (path / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
  (path / "tokenizer_config.json").write_text(json.dumps(settings))
  (path / "config.json").write_text('{"model_type": "bert"}')
  for name, content in dict(files).items():
    (path / name).write_text(json.dumps(content))
  return path


@pytest.mark.parametrize("case", CASES)
def test_ids_are_those_of_transformers(case, tmp_path):
  """From vocab.txt, and from what transformers 5 saves: tokenizer.json alone."""
  os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
  from transformers import AutoTokenizer

  settings, files = CASES[case]
  folder = _folder(tmp_path / "old", settings, files)
  theirs = AutoTokenizer.from_pretrained(str(folder))
  theirs.save_pretrained(str(tmp_path / "new"))
  assert not (tmp_path / "new" / "vocab.txt").exists()
  for ours in (load_tokenizer(folder), load_tokenizer(tmp_path / "new", vocab_size=len(theirs))):
    for text in TEXTS:
      assert ours.encode(text).ids == theirs(text)["input_ids"], text
    pair = ours.encode(TEXTS[0], TEXTS[1])
    expected = theirs(TEXTS[0], TEXTS[1])
    assert (pair.ids, pair.type_ids) == (expected["input_ids"], expected["token_type_ids"])


def test_the_settings_change_ids_at_all(tmp_path):
  """Else the test above would pass where every setting is ignored."""
  found = set()
  for name, (settings, files) in CASES.items():
    tokenizer = load_tokenizer(_folder(tmp_path / name, settings, files))
    found.add(tuple(tuple(tokenizer.encode(text).ids) for text in TEXTS))
  assert len(found) == len(CASES)


NOT_HONOURED = {
  "never_split": ({"never_split": ["<x>"]}, "sets never_split"),
  "basic": ({"do_basic_tokenize": False}, "sets do_basic_tokenize to False"),
  "left": ({"truncation_side": "left"}, "sets truncation_side to left"),
  "japanese": (
    {"tokenizer_class": "BertJapaneseTokenizer"},
    "is a BertJapaneseTokenizer: only BERT's WordPiece",
  ),
  "start": ({"cls_token": "<s>"}, r"cls_token .* is '<s>': only the usual \[CLS\]"),
  "place": (
    {"added_tokens_decoder": {"900": {"content": "<new>"}}},
    f"'<new>' .* id 900, here it gets {len(VOCAB)}",
  ),
  "no_json": (None, "not the settings of a tokenizer"),
}


@pytest.mark.parametrize("case", NOT_HONOURED)
def test_what_is_not_honoured_is_refused_by_name(case, tmp_path):
  settings, message = NOT_HONOURED[case]
  folder = _folder(tmp_path / case, settings or {})
  if settings is None:
    (folder / "tokenizer_config.json").write_text("{")
  with pytest.raises(ValueError, match=message):
    load_tokenizer(folder)


def _saved(folder, **changes):
  """A tokenizer.json that transformers 5 writes, changed: part -> {key: value}."""
  from transformers import BertTokenizer

  BertTokenizer.from_pretrained(str(_folder(folder, {}))).save_pretrained(str(folder))
  content = json.loads((folder / "tokenizer.json").read_text())
  for part, values in changes.items():
    content[part].update(values)
  (folder / "tokenizer.json").write_text(json.dumps(content))
  return folder


def test_files_that_contradict_each_other_are_refused(tmp_path):
  both = _saved(tmp_path / "both")
  assert load_tokenizer(both).encode("café").ids == [2, VOCAB.index("cafe"), 3]
  (both / "vocab.txt").write_text("\n".join([*SPECIAL, "a", *WORDS]) + "\n")
  with pytest.raises(ValueError, match="vocab.txt give 'a' different ids"):
    load_tokenizer(both)
  # transformers would go by tokenizer_config.json: the ids of which of the two were meant?
  cased = _saved(tmp_path / "cased", normalizer={"lowercase": False})
  with pytest.raises(ValueError, match="says lowercase=false, tokenizer_config.json do_lower_case=true"):
    load_tokenizer(cased)
  other = _saved(tmp_path / "other", model={"type": "BPE"})
  with pytest.raises(ValueError, match="is BPE, not WordPiece"):
    load_tokenizer(other)
  (other / "tokenizer.json").write_text("[]")
  with pytest.raises(ValueError, match="not a tokenizer.json"):
    load_tokenizer(other)
