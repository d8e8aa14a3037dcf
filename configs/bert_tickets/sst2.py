"""BERT tickets on SST-2 (sentiment of movie phrases, 67,349 of them), accuracy.

  python launch/train.py --config=configs/bert_tickets/sst2.py:imp --config.seeds=5 --workdir=runs/sst2_imp

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
Number to expect: the paper's (percent, 5 seeds) are full 92.1 ± 0.1, IMP at 60 % 91.9 ± 0.5.
The settings are the paper's, with BERT-base from the folder bert-base-uncased (config.model.path). Data:
launch/prepare_data.py --dataset=glue/sst2 downloads them. Hardware: a GPU or TPU with 8 GB; by calculation
2.2 GB for weights, their start, gradient and Adam, and 3.5 GB for activations (config.model.remat=True takes
less). Time: one training is 6,315 steps of 32 x 128 tokens, imp at 70 % is eight trainings per seed; not
measured at this size, table.py has what was.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("sst2", method)
