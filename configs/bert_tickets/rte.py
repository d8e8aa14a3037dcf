"""BERT tickets on RTE (entailment, 2,490 pairs), accuracy.

  python launch/train.py --config=configs/bert_tickets/rte.py:imp --config.seeds=5 --workdir=runs/rte_imp

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
The paper reports (percent, 5 seeds) full 66.2 ± 3.6, IMP at 60 % 66.0 ± 2.4. The settings are the paper's,
with BERT-base from the folder bert-base-uncased (config.model.path); nothing of this size was measured here,
configs/bert_tickets/table.py has what was. The data are downloaded by launch/prepare_data.py
--dataset=glue/rte. Hardware: a GPU or TPU.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("rte", method)
