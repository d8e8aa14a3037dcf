"""BERT tickets on WNLI (635 pairs; below the majority class for every method, so no evidence of anything),
accuracy.

  python launch/train.py --config=configs/bert_tickets/wnli.py:imp --config.seeds=5 --workdir=runs/wnli_imp

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
The paper reports (percent, 5 seeds) full 54.9 ± 1.2, IMP at 90 % 54.9 ± 1.2. The settings are the paper's,
with BERT-base from the folder bert-base-uncased (config.model.path); nothing of this size was measured here,
configs/bert_tickets/table.py has what was. The data are downloaded by launch/prepare_data.py
--dataset=glue/wnli. Hardware: a GPU or TPU.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("wnli", method)
