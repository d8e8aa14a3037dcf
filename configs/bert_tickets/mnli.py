"""BERT tickets on MNLI (entailment of pairs, 392,702 of them), matched accuracy.

  python launch/train.py --config=configs/bert_tickets/mnli.py:imp --config.seeds=5 --workdir=runs/mnli_imp

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
The paper reports (percent, 5 seeds) full 82.4 ± 0.5, IMP at 70 % 82.6 ± 0.2. The settings are the paper's,
with BERT-base from the folder bert-base-uncased (config.model.path); nothing of this size was measured here,
configs/bert_tickets/table.py has what was. The data are downloaded by launch/prepare_data.py
--dataset=glue/mnli. Hardware: a GPU or TPU.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("mnli", method)
