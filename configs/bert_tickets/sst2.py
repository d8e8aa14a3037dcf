"""BERT tickets on SST-2 (sentiment of movie phrases, 67,349 of them), accuracy.

  python launch/train.py --config=configs/bert_tickets/sst2.py:imp --config.seeds=5 --workdir=runs/sst2_imp

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
The paper reports (percent, 5 seeds) full 92.1 ± 0.1, IMP at 60 % 91.9 ± 0.5. The settings are the paper's,
with BERT-base from the folder bert-base-uncased (config.model.path); nothing of this size was measured here,
configs/bert_tickets/table.py has what was. The data are downloaded by launch/prepare_data.py
--dataset=glue/sst2. Hardware: a GPU or TPU.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("sst2", method)
