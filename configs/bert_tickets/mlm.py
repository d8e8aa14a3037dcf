"""BERT tickets by masked-LM on a text of your own; the paper's was Wikipedia, 10,000 steps of 16 x 512 a
round.

  python launch/train.py --config=configs/bert_tickets/mlm.py:imp --config.data.train=my.txt
  --workdir=runs/mlm_imp

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard. The paper
reports 63.5 ± 0.1 % of masked words right, and 63.2 ± 0.3 % at 70 %; its released script did not rewind in
this task (config.rewind_to=none does as it did). Every 20th block of the text is kept for development, unless
config.data.dev is given. From random weights: --config.model.path= --config.model.vocab=FOLDER. Hardware: a
GPU or TPU.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("mlm", method)
