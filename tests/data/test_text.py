"""Texts, tokens, windows and buckets: what a user's files become, and what is wrong with bad ones."""

import json
import os

import numpy as np
import pytest

from vita_jax.data import text, text_squad, text_tokens
from vita_jax.data.buckets import make_buckets
from vita_jax.data.index import batches_per_epoch
from vita_jax.data.stream import Stream, batches, read_batch, read_sweep_batch
from vita_jax.data.text_tokens import SPECIAL, Rows

WORDS = "the a cat cats sat on mat ##s ##ting in 18 ##90 city of paris paris is big was built it . , ? who"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("vocab")
  (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *dict.fromkeys(WORDS.split())]) + "\n")
  return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
  return text_tokens.load_tokenizer(folder)


def test_words_become_pieces_between_the_special_tokens(tokenizer):
  first, second = ["The CATS satting", "mat"], ["on a mat.", "zebra"]
  single = text_tokens.tokenize(tokenizer, first, None, max_length=16)
  names = [tokenizer.id_to_token(i) for i in single.ids[0]]
  assert names == ["[CLS]", "the", "cats", "sat", "##ting", "[SEP]", "[PAD]", "[PAD]"]
  assert single.lengths.tolist() == [6, 3] and not single.types.any() and single.truncated == 0
  pairs = text_tokens.tokenize(tokenizer, first, second, max_length=16)
  names = [tokenizer.id_to_token(i) for i in pairs.ids[1]]
  assert names[:5] == ["[CLS]", "mat", "[SEP]", "[UNK]", "[SEP]"] and set(names[5:]) == {"[PAD]"}
  assert pairs.types[1].tolist() == [0, 0, 0, 1, 1] + [0] * (pairs.ids.shape[1] - 5)


def test_the_longer_text_of_a_pair_is_cut_and_cuts_are_counted(tokenizer):
  found = text_tokens.tokenize(tokenizer, ["cat " * 20, "cat"], ["mat mat", "mat"], max_length=12)
  assert found.truncated == 1 and found.lengths.tolist() == [12, 5]
  names = [tokenizer.id_to_token(i) for i in found.ids[0]]
  assert names == ["[CLS]", *["cat"] * 7, "[SEP]", "mat", "mat", "[SEP]"]


def test_vocabularies_that_do_not_fit_are_named(folder, tmp_path):
  n = len((folder / "vocab.txt").read_text().split())
  text_tokens.load_tokenizer(folder, vocab_size=n + 10)
  for size in (n - 1, n + 64):
    with pytest.raises(ValueError, match=f"has {n} tokens, but the word embeddings have {size} rows"):
      text_tokens.load_tokenizer(folder, vocab_size=size)
  with pytest.raises(FileNotFoundError, match="no vocabulary"):
    text_tokens.load_tokenizer(tmp_path)
  (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\nword\n")
  with pytest.raises(ValueError, match=r"lacks \[CLS\], \[SEP\], \[MASK\]"):
    text_tokens.load_tokenizer(tmp_path)


def test_a_trained_vocabulary_covers_its_text(tmp_path):
  lines = ["the cat sat on the mat", "the mat was big"] * 5
  text_tokens.train_vocabulary(lines, tmp_path / "vocab.txt", size=60)
  tokenizer = text_tokens.load_tokenizer(tmp_path)
  found = text_tokens.tokenize(tokenizer, lines, None, max_length=32)
  assert tokenizer.token_to_id("[PAD]") == 0
  assert not (found.ids == tokenizer.token_to_id("[UNK]")).any()


def test_a_text_is_cut_into_blocks_without_loss(tokenizer):
  rows = text_tokens.blocks(tokenizer, "the cat sat on the mat .\n\n" * 3, length=6)
  assert rows.shape == (5, 6)
  names = [tokenizer.id_to_token(i) for i in rows[:, 1:-1].ravel()]
  assert names == ("the cat sat on the mat .".split() * 3)[:20]
  assert (rows[:, 0] == tokenizer.token_to_id("[CLS]")).all()
  assert (rows[:, -1] == tokenizer.token_to_id("[SEP]")).all()
  with pytest.raises(ValueError, match="has 2 tokens: one block takes 4"):
    text_tokens.blocks(tokenizer, "the cat", length=6)


def test_tables_are_read_and_bad_ones_are_named(tmp_path):
  def write(content):
    (tmp_path / "t.tsv").write_text(content)
    return tmp_path / "t.tsv"

  found = text.read_tsv(write('sentence1\tsentence2\tlabel\nhe said "hi\tb\tyes\nc\td\tno\n'))
  assert found.first == ['he said "hi', "c"] and found.second == ["b", "d"]
  assert found.classes == ("no", "yes") and found.labels.tolist() == [1, 0]
  scored = text.read_tsv(write("label\tsentence\n2.5\ta\n0\tb\n"), classes=())
  assert scored.labels.dtype == np.float32 and scored.labels.tolist() == [2.5, 0.0]
  assert text.read_tsv(write("sentence\tlabel\na\t1\n"), classes=("no", "yes")).labels.tolist() == [1]
  stars = text.read_tsv(write("sentence\tlabel\na\t1\nb\t2\nc\t3\n"))  # names, not numbers from 0
  assert stars.classes == ("1", "2", "3") and stars.labels.tolist() == [0, 1, 2]
  with pytest.raises(ValueError, match="label '0', which is none of 1, 2, 3"):
    text.read_tsv(write("sentence\tlabel\na\t0\n"), classes=stars.classes)
  assert text.read_sentences(write("sentence\nx y\n")) == (["x y"], None)
  cases = {
    "text\tlabel\na\t1\n": "needs a header",
    "sentence\tclass\na\t1\n": "needs a column 'label'",
    "sentence\tlabel\n": "holds no rows",
    "sentence\tlabel\na\t1\nb\n": "row 2 has 1 cells, the header 2",
    "sentence\tlabel\na\tmaybe\n": "label 'maybe', which is none of no, yes",
  }
  for content, message in cases.items():
    with pytest.raises(ValueError, match=message):
      text.read_tsv(write(content), classes=("no", "yes"))
  with pytest.raises(ValueError, match="must be numbers"):
    text.read_tsv(write("sentence\tlabel\na\tgood\n"), classes=())
  with pytest.raises(FileNotFoundError, match="check the path"):
    text.read_tsv(tmp_path / "none.tsv")
  (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xff")
  with pytest.raises(ValueError, match="not a text in UTF-8"):
    text.read_text(tmp_path / "b.txt")


def test_glue_without_its_data_names_the_command(tmp_path, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  monkeypatch.delenv("VITA_DATA_DIR", raising=False)
  for task in ("sst2", "mnli"):
    with pytest.raises(FileNotFoundError, match=f"prepare_data.py --dataset=glue/{task}"):
      text.load_glue(task)
  with pytest.raises(ValueError, match="unknown GLUE task 'sst3'"):
    text.load_glue("sst3")
  with pytest.raises(FileNotFoundError, match="--dataset=squad"):
    text_squad.load_squad("train")


@pytest.mark.parametrize("task,train,dev", [("sst2", 67_349, 872), ("cola", 8_551, 1_043)])
def test_real_glue_has_its_rows(task, train, dev):
  if not os.environ.get("VITA_DATA_DIR"):
    pytest.skip(f"VITA_DATA_DIR is not set: {task} is not shipped")
  found = text.load_glue(task)
  assert {name: len(texts.first) for name, texts in found.items()} == {"train": train, "validation": dev}
  assert all(
    len(texts.labels) == len(texts.first) and set(texts.labels) == {0, 1} for texts in found.values()
  )
  assert 0.5 < found["train"].labels.mean() < 0.75


def _rows(n=103, longest=60):
  rng = np.random.default_rng(0)
  lengths = np.minimum(rng.geometric(0.08, n) + 2, longest).astype(np.int32)
  ids = np.where(np.arange(longest) < lengths[:, None], 1 + np.arange(n)[:, None], 0)
  return {"ids": ids, "length": lengths, "row": np.arange(n)}


def _stream(window, **options):
  arrays = _rows()
  buckets = make_buckets(arrays["length"], ("ids",), longest=60, step=8, window=window)
  return Stream(Rows(arrays), 8, buckets=buckets, **options), arrays


def test_buckets_double_up_to_what_is_needed():
  def sizes(lengths, **options):
    return make_buckets(np.array(lengths), ("ids",), **options).sizes

  assert sizes([3, 61], longest=128) == (16, 32, 64)
  assert sizes([3, 100], longest=100) == (16, 32, 64, 100)
  assert sizes([5], longest=128) == (8,)
  with pytest.raises(ValueError, match="a row has length 9"):
    sizes([9], longest=8)


@pytest.mark.parametrize("window,remainder", [(1, "pad"), (4, "pad"), (4, "drop"), (50, "pad")])
def test_grouped_epochs_visit_every_row_once_and_cut_nothing_off(window, remainder):
  stream, arrays = _stream(window, remainder=remainder)
  per_epoch = batches_per_epoch(103, 8, remainder)
  for epoch in range(2):
    seen = []
    for t in range(epoch * per_epoch, (epoch + 1) * per_epoch):
      batch = read_batch(stream, 5, t)
      real = batch.get("mask", np.ones(8)) > 0
      rows = batch["row"][real]
      seen += rows.tolist()
      width = batch["ids"].shape[1]
      assert width in stream.buckets.sizes and width >= arrays["length"][rows].max()
      assert (batch["ids"][real] > 0).sum() == arrays["length"][rows].sum()
    assert len(seen) == len(set(seen)) == (103 if remainder == "pad" else 96)
  same = [read_batch(stream, 5, t)["row"].tolist() for t in (3, per_epoch + 3)]
  assert same[0] != same[1] and same[0] != read_batch(stream, 6, 3)["row"].tolist()


def test_grouping_saves_padding_and_streams_from_anywhere():
  widths = {}
  for window in (1, 8):
    stream, _ = _stream(window)
    widths[window] = sum(read_batch(stream, 0, t)["ids"].shape[1] for t in range(13))
  assert widths[8] < 0.75 * widths[1]
  t, batch = next(batches(stream, 0, 9))
  np.testing.assert_array_equal(batch["row"], read_batch(stream, 0, 9)["row"])
  assert t == 9
  both = read_batch(stream, [0, 1], 4)
  one = read_batch(stream, 1, 4)
  assert both["ids"].shape[0] == 2 and both["ids"].shape[2] >= one["ids"].shape[1]
  np.testing.assert_array_equal(both["row"][1], one["row"])
  last = read_sweep_batch(stream, 12)
  assert last["mask"].sum() == 7 and last["row"][:7].tolist() == list(range(96, 103))


CONTEXT = "Paris is big. It was built in 1890, in the city of Paris."


def _question(**changes):
  return text_squad.Question("q", "who built it?", CONTEXT, ("1890",), CONTEXT.index("1890"))._replace(
    **changes
  )


def test_answers_survive_the_way_into_windows_and_back(tokenizer):
  questions = [_question(), _question(answers=("Paris",), start=CONTEXT.rindex("Paris"))]
  found = text_squad.windows(tokenizer, questions, max_length=17, stride=4, max_question=4)
  assert (found.question == 0).sum() > 2  # several windows
  for i, question in enumerate(questions):
    rows = np.flatnonzero((found.question == i) & (found.starts > 0))
    assert rows.size
    for row in rows:
      span = [found.offsets[row, found.starts[row], 0], found.offsets[row, found.ends[row], 1]]
      assert CONTEXT[span[0] : span[1]] == question.answers[0]
    covered = {
      tuple(o) for row in np.flatnonzero(found.question == i) for o in found.offsets[row] if o[0] >= 0
    }
    assert covered == set(tokenizer.encode(CONTEXT, add_special_tokens=False).offsets)
  assert found.types[0, : found.lengths[0]].tolist() == [0] * 6 + [1] * (found.lengths[0] - 6)
  # Perfect logits find the answers again; those outside the context, or backwards, are never chosen.
  best = np.zeros((len(found.ids), 4, 3), np.float32)
  for row in range(len(best)):
    holds = found.starts[row] > 0
    best[row, 0] = [0, found.starts[row], found.lengths[row] - 2]
    best[row, 2] = [0, found.ends[row], 1]
    best[row, 1] = best[row, 3] = [50, 10 if holds else -10, -20]
  answers = text_squad.best_answers(questions, found, best)
  assert [answer.text for answer in answers] == ["1890", "Paris"]
  assert [CONTEXT[a.start : a.end] for a in answers] == ["1890", "Paris"] and answers[0].score == 20


def test_scores_of_answers_are_the_official_ones():
  assert text_squad.normalized("The  Cat, (a dog)!") == "cat dog"
  assert (
    text_squad.exact_match("the cat", ["A cat."]) == 1.0 and text_squad.exact_match("cat", ["dog"]) == 0.0
  )
  assert text_squad.overlap_f1("big black cat", ["the black cat"]) == pytest.approx(
    2 * (2 / 3) * 1 / (2 / 3 + 1)
  )
  assert text_squad.overlap_f1("", ["a"]) == 1.0 and text_squad.overlap_f1("x", ["y", "x"]) == 1.0
  assert text_squad.overlap_f1("b b a", ["b c"]) == pytest.approx(0.5)


def test_squad_files_are_read(tmp_path):
  qa = {"id": "1", "question": "who?", "answers": [{"text": "Paris", "answer_start": 0}]}
  (tmp_path / "s.json").write_text(
    json.dumps({"data": [{"paragraphs": [{"context": CONTEXT, "qas": [qa]}]}]})
  )
  assert text_squad.read_squad(tmp_path / "s.json") == [
    text_squad.Question("1", "who?", CONTEXT, ("Paris",), 0)
  ]
  for content in ('{"data": []}', '{"data": [{}]}', "nonsense"):
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(ValueError, match="holds no question|(no|not a) SQuAD"):
      text_squad.read_squad(tmp_path / "s.json")


def _squad_file(path, *answers, context=CONTEXT):
  qas = [{"id": f"q{i}", "question": "who?", "answers": list(found)} for i, found in enumerate(answers)]
  path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}))
  return path


def test_answers_that_are_somewhere_else_are_never_trained_on(tmp_path):
  """Wrong starts used to be trained on as they were: nonsense spans, without a word."""
  wrong = {"text": "1890", "answer_start": 3}
  right = {"text": "Paris", "answer_start": 0}
  with pytest.warns(UserWarning, match="1 of 2 answers are not where answer_start says"):
    found = text_squad.read_squad(_squad_file(tmp_path / "moved.json", [wrong], [right]))
  assert [q.start for q in found] == [CONTEXT.index("1890"), 0]
  for answer, start in (("1891", 33), ("Paris", 2), ("Paris", -6)):  # nowhere; twice; counted from the end
    lost = _squad_file(tmp_path / "lost.json", [right], [{"text": answer, "answer_start": start}])
    with pytest.raises(ValueError, match=f"1 of 2 answers .*e.g. '{answer}' of question 'q1'"):
      text_squad.read_squad(lost)
  with pytest.raises(ValueError, match="1 of 2 questions in .* have no answer, e.g. 'q1': remove them"):
    text_squad.read_squad(_squad_file(tmp_path / "without.json", [right], []))
  unanswered = text_squad.read_squad(tmp_path / "without.json", answered=False)
  assert [(q.answers, q.start) for q in unanswered] == [((), -1)] * 2


def test_unanswered_questions_become_windows_and_answers(tokenizer):
  questions = [_question(answers=(), start=-1)]
  found = text_squad.windows(tokenizer, questions, max_length=17, stride=4, max_question=4)
  assert not found.starts.any() and not found.ends.any()
  logits = np.zeros((2, *found.ids.shape), np.float32)
  row, place = np.argwhere(found.offsets[..., 0] == CONTEXT.index("1890"))[0]
  logits[0, row, place], logits[1, row, place + 1] = 9, 8  # 18 ##90
  best = text_squad.best_of_logits(*logits, found, k=3)
  assert best.shape == (len(found.ids), 4, 3) and best[row, 0, 0] == place and best[row, 3, 0] == 8
  (answer,) = text_squad.best_answers(questions, found, best)
  assert answer == ("1890", CONTEXT.index("1890"), CONTEXT.index("1890") + 4, 17.0)
  (none,) = text_squad.best_answers(questions, found, best[:, :, :0])
  assert none == ("", -1, -1, -np.inf)
