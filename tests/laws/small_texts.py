"""Texts whose class a few words decide, a vocabulary made of them, and small configs to train on them."""

import numpy as np

from vita_jax.data.text_tokens import SPECIAL
from vita_jax.papers.bert_tickets.recipe import default_config

WORDS = ("good fine great lovely", "bad awful poor dull")
NEUTRAL = "the movie is a very film with an actor and plot".split()


def write_texts(folder):
  """Writes train.tsv (96 rows), dev.tsv (40), text.txt and vocab.txt into the folder."""
  rng = np.random.default_rng(0)

  def sentence(label):
    words = [*rng.choice(NEUTRAL, rng.integers(3, 12)), rng.choice(WORDS[label].split())]
    return " ".join(rng.permutation(words))

  for name, n in (("train", 96), ("dev", 40)):
    rows = [f"{sentence(i % 2)}\t{i % 2}" for i in range(n)]
    (folder / f"{name}.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
  lines = [sentence(i % 2) for i in range(200)]
  (folder / "text.txt").write_text("\n".join(lines) + "\n")
  words = sorted({word for line in lines for word in line.split()})
  (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *words]) + "\n")
  return folder


def small_config(folder, method, task="custom", **overrides):
  """A BERT of one layer of width 16 from random weights; four steps per training; one length of batches."""
  config = default_config(task, method)
  config.model.update({"path": "", "vocab": str(folder), "hidden_size": 16, "intermediate_size": 32})
  config.model.num_hidden_layers = 1
  suffix = "txt" if task == "mlm" else "tsv"
  config.data.train = str(folder / ("text.txt" if task == "mlm" else "train.tsv"))
  config.data.dev = "" if task == "mlm" else str(folder / f"dev.{suffix}")
  config.data.update({"max_length": 16, "bucket": 16})
  config.update({"batch_size": 16, "steps": 4, "learning_rate": 1e-3, "sparsity": 0.2, "log_every": 2})
  config.update_from_flattened_dict(overrides)
  return config
