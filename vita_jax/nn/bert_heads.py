"""BERT with a head: classification or regression, spans of answers, masked words.

Parameters lie as {"bert": encoder, "classifier" | "qa_outputs" | "mlm": head}; see `bert_files` for their
names in Hugging Face files. `apply({"params": params}, ids, mask, types, key)`, arguments as those of `Bert`.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vita_jax.nn.bert_config import BertConfig
from vita_jax.nn.bert_encoder import ACTIVATIONS, Bert, Dense, LayerNorm, _fold
from vita_jax.nn.hash_dropout import hash_dropout


class BertClassifier(nn.Module):
  """Logits float32 [B, n_outputs] from the pooled first token; one output for regression."""

  config: BertConfig
  n_outputs: int = 2
  dtype: Any = jnp.float32
  remat: bool = False

  def setup(self):
    self.bert = Bert(self.config, self.dtype, self.remat)
    self.classifier = Dense(self.n_outputs, self.config, self.dtype)

  def __call__(self, ids, mask=None, types=None, key=None):
    pooled = self.bert.pool(self.bert(ids, mask, types, _fold(key, 0)))
    pooled = hash_dropout(_fold(key, 1), pooled, self.config.hidden_dropout_prob)
    return self.classifier(pooled).astype(jnp.float32)


class BertSpans(nn.Module):
  """Logits float32 [B, T, 2] of where an answer starts and ends; padding is not masked out."""

  config: BertConfig
  dtype: Any = jnp.float32
  remat: bool = False

  def setup(self):
    self.bert = Bert(self.config, self.dtype, self.remat)
    self.qa_outputs = Dense(2, self.config, self.dtype)

  def __call__(self, ids, mask=None, types=None, key=None):
    return self.qa_outputs(self.bert(ids, mask, types, _fold(key, 0))).astype(jnp.float32)


class MaskedLMHead(nn.Module):
  """Dense, activation, layer norm, then the word embeddings transposed (tied) and a bias [vocabulary]."""

  config: BertConfig
  dtype: Any = jnp.float32

  def setup(self):
    self.transform = Dense(self.config.hidden_size, self.config, self.dtype)
    self.layer_norm = LayerNorm(self.config, self.dtype)
    self.bias = self.param("bias", nn.initializers.zeros, (self.config.vocab_size,))

  def __call__(self, hidden, table):
    x = self.layer_norm(ACTIVATIONS[self.config.hidden_act](self.transform(hidden)))
    return jnp.matmul(x, table.astype(self.dtype).T, preferred_element_type=jnp.float32) + self.bias


class BertMaskedLM(nn.Module):
  """Logits float32 [B, K, vocabulary] at the K positions asked for, or [B, T, vocabulary] at all of them."""

  config: BertConfig
  dtype: Any = jnp.float32
  remat: bool = False

  def setup(self):
    self.bert = Bert(self.config, self.dtype, self.remat)
    self.mlm = MaskedLMHead(self.config, self.dtype)

  def __call__(self, ids, mask=None, types=None, key=None, positions=None):
    """`positions` int32 [B, K]: only there the projection onto the vocabulary is made."""
    hidden = self.bert(ids, mask, types, _fold(key, 0))
    if positions is not None:
      hidden = jnp.take_along_axis(hidden, positions[..., None], axis=1)
    return self.mlm(hidden, self.bert.word_table())
