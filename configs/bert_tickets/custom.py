"""BERT tickets on labelled texts of your own, one tab-separated file for training and one for development.

  python launch/train.py --config=configs/bert_tickets/custom.py:imp --config.data.train=train.tsv \\
    --config.data.dev=dev.tsv --config.model.path=minilm_l3 --workdir=runs/my

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
The files have a header: `sentence` (or `sentence1` and `sentence2`) and `label`. config.data.kind=regression
takes labels as numbers. config.model.path is a Hugging Face folder of a BERT; "" trains from random weights
with the vocab.txt in config.model.vocab. Number to expect, hardware, time and memory: as your data and model
are; MiniLM-L3 with texts of 16 to 64 tokens takes 0.3 s per step of 32 on one CPU core.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("custom", method)
