"""BERT tickets on labelled texts of your own, one tab-separated file for training and one for development.

  python launch/train.py --config=configs/bert_tickets/custom.py:imp --config.data.train=train.tsv \\
    --config.data.dev=dev.tsv --config.model.path=minilm_l3 --workdir=runs/my

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
The files have a header: `sentence` (or `sentence1` and `sentence2`) and `label`. config.data.kind=regression
takes labels as numbers. config.model.path is a Hugging Face folder of a BERT; "" trains from random weights
with the vocab.txt in config.model.vocab. Hardware: for MiniLM-L3 one CPU core; for BERT-base a GPU or TPU
with 8 GB. Time and memory of MiniLM-L3 with texts of 16 to 64 tokens: 0.3 s per step of 32, and 1.9 GB for
imp with one seed. Number to expect: your data's; the paper's, of GLUE, are in the configs beside this.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("custom", method)
