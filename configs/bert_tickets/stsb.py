"""BERT tickets on STS-B (similarity of 5,749 pairs, 0 to 5), Pearson correlation.

  python launch/train.py --config=configs/bert_tickets/stsb.py:imp --config.seeds=5 --workdir=runs/stsb_imp

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
The paper reports (percent, 5 seeds) full 88.4 ± 0.3, IMP at 50 % 88.2 ± 0.2. The settings are the paper's,
with BERT-base from the folder bert-base-uncased (config.model.path); nothing of this size was measured here,
configs/bert_tickets/table.py has what was. The data are downloaded by launch/prepare_data.py
--dataset=glue/stsb. Hardware: a GPU or TPU.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("stsb", method)
