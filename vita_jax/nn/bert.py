"""A small, exact Flax BERT that reads and writes Hugging Face folders (transformers 5 has no Flax models).

    config, params = load_bert("bert-base-uncased")     # config.json, model.safetensors; no torch, no pickle
    hidden = Bert(config).apply({"params": params["bert"]}, ids, mask)
    logits = BertClassifier(config, 2).apply({"params": params}, ids, mask, types, key)  # key: dropout
    save_bert("mine", config, params)  # transformers loads it

Forward pass, masks, dropout sites, GELU with erf, layer norm eps 1e-12 and the gradient of the padding row
are those of Hugging Face's BertModel; the tests hold them equal.
"""

from vita_jax.nn.bert_config import BertConfig
from vita_jax.nn.bert_encoder import PRUNABLE, Bert
from vita_jax.nn.bert_files import Loaded, load_bert, read_bert, save_bert, shapes
from vita_jax.nn.bert_heads import BertClassifier, BertMaskedLM, BertSpans

__all__ = [
  "PRUNABLE",
  "Bert",
  "BertClassifier",
  "BertConfig",
  "BertMaskedLM",
  "BertSpans",
  "Loaded",
  "load_bert",
  "read_bert",
  "save_bert",
  "shapes",
]
