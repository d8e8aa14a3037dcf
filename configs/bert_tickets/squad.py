"""BERT tickets on SQuAD v1.1 (spans of answers, 87,599 questions), F1.

  python launch/train.py --config=configs/bert_tickets/squad.py:imp --config.seeds=5 --workdir=runs/squad_imp

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
The paper reports (percent, 5 seeds) full 88.1 ± 0.6, IMP at 40 % 87.7 ± 0.5. The settings are the paper's,
with BERT-base from the folder bert-base-uncased (config.model.path); nothing of this size was measured here,
configs/bert_tickets/table.py has what was. The data are downloaded by launch/prepare_data.py --dataset=squad.
Hardware: a GPU or TPU.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("squad", method)
