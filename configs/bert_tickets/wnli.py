"""BERT tickets on WNLI (635 pairs), accuracy.

  python launch/train.py --config=configs/bert_tickets/wnli.py:imp --config.seeds=5 --workdir=runs/wnli_imp

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
Number to expect: the paper's (percent, 5 seeds) are full 54.9 ± 1.2, IMP at 90 % 54.9 ± 1.2.
Every method stays below the majority class, in the paper as well: it is evidence of nothing.
The settings are the paper's, with BERT-base from the folder bert-base-uncased (config.model.path). Data:
launch/prepare_data.py --dataset=glue/wnli downloads them. Hardware: a GPU or TPU with 8 GB; by calculation
2.2 GB for weights, their start, gradient and Adam, and 3.5 GB for activations (config.model.remat=True takes
less). Time: one training is 60 steps of 32 x 128 tokens, imp at 70 % is eight trainings per seed; not
measured at this size, table.py has what was.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("wnli", method)
