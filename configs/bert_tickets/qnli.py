"""BERT tickets on QNLI (does a sentence answer a question, 104,743 pairs), accuracy.

  python launch/train.py --config=configs/bert_tickets/qnli.py:imp --config.seeds=5 --workdir=runs/qnli_imp

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
The paper reports (percent, 5 seeds) full 89.1 ± 1.0, IMP at 70 % 88.9 ± 0.4. The settings are the paper's,
with BERT-base from the folder bert-base-uncased (config.model.path); nothing of this size was measured here,
configs/bert_tickets/table.py has what was. The data are downloaded by launch/prepare_data.py
--dataset=glue/qnli. Hardware: a GPU or TPU.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("qnli", method)
