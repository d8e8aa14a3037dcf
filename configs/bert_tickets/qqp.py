"""BERT tickets on QQP (are two questions the same, 363,849 pairs), accuracy.

  python launch/train.py --config=configs/bert_tickets/qqp.py:imp --config.seeds=5 --workdir=runs/qqp_imp

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
The paper reports (percent, 5 seeds) full 90.2 ± 0.5, IMP at 90 % 90.0 ± 0.2. The settings are the paper's,
with BERT-base from the folder bert-base-uncased (config.model.path); nothing of this size was measured here,
configs/bert_tickets/table.py has what was. The data are downloaded by launch/prepare_data.py
--dataset=glue/qqp. Hardware: a GPU or TPU.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("qqp", method)
