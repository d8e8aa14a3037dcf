"""BERT tickets on SQuAD v1.1 (spans of answers, 87,599 questions), F1.

  python launch/train.py --config=configs/bert_tickets/squad.py:imp --config.seeds=5 --workdir=runs/squad_imp

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
Number to expect: the paper's (percent, 5 seeds) are full 88.1 ± 0.6, IMP at 40 % 87.7 ± 0.5.
The settings are the paper's, with BERT-base from the folder bert-base-uncased (config.model.path). Data:
launch/prepare_data.py --dataset=squad downloads them; files of your own in the same layout go to
config.data.train and config.data.dev. Hardware: a GPU or TPU with 16 GB; by calculation 2.2 GB for weights,
their start, gradient and Adam, and 8 GB for activations (config.model.remat=True takes less). Time: one
training is about 11,000 steps of 16 x 384 tokens, imp at 70 % is eight trainings for each seed; not measured
at this size.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("squad", method)
