"""BERT tickets by masked-LM on a text of your own; the paper's was Wikipedia.

  python launch/train.py --config=configs/bert_tickets/mlm.py:imp --config.data.train=my.txt \\
    --workdir=runs/mlm_imp

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
Number to expect: the paper's are 63.5 ± 0.1 % of masked words right, and 63.2 ± 0.3 % at 70 %; its released
script did not rewind in this task (config.rewind_to=none does as it did). Every 20th block of the text is
kept for development, unless config.data.dev is given. From random weights: --config.model.path=
--config.model.vocab=FOLDER. Hardware: a GPU or TPU with 16 GB; by calculation 2.2 GB for weights, their
start, gradient and Adam, and 11 GB for activations (config.model.remat=True takes less). Time: a training is
10,000 steps of 16 x 512 tokens, imp at 70 % is eight trainings for each seed; not measured at this size.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("mlm", method)
