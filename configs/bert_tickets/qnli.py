"""BERT tickets on QNLI (does a sentence answer a question, 104,743 pairs), accuracy.

  python launch/train.py --config=configs/bert_tickets/qnli.py:imp --config.seeds=5 --workdir=runs/qnli_imp

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
Number to expect: the paper's (percent, 5 seeds) are full 89.1 ± 1.0, IMP at 70 % 88.9 ± 0.4.
The settings are the paper's, with BERT-base from the folder bert-base-uncased (config.model.path). Data:
launch/prepare_data.py --dataset=glue/qnli downloads them. Hardware: a GPU or TPU with 8 GB; by calculation
2.2 GB for weights, their start, gradient and Adam, and 3.5 GB for activations (config.model.remat=True takes
less). Time: one training is 9,822 steps of 32 x 128 tokens, imp at 70 % is eight trainings per seed; not
measured at this size, table.py has what was.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("qnli", method)
