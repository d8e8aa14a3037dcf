"""BERT tickets on CoLA (is a sentence grammatical, 8,551 of them), Matthews correlation.

  python launch/train.py --config=configs/bert_tickets/cola.py:imp --config.seeds=5 --workdir=runs/cola_imp

The argument is the method: full | imp | oneshot | random | shuffled | random_reinit | standard.
The paper reports (percent, 5 seeds) full 54.5 ± 0.4, IMP at 50 % 53.8 ± 0.9. The settings are the paper's,
with BERT-base from the folder bert-base-uncased (config.model.path); nothing of this size was measured here,
configs/bert_tickets/table.py has what was. The data are downloaded by launch/prepare_data.py
--dataset=glue/cola. Hardware: a GPU or TPU.
"""

from vita_jax.papers.bert_tickets.recipe import default_config


def get_config(method: str = "imp"):
  return default_config("cola", method)
