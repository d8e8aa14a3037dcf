"""The BERT encoder (Devlin et al., NAACL 2019), equal to Hugging Face's BertModel to float rounding.

B is the batch, T the length, H the hidden size, A the heads, d = H / A, F the feed-forward width. Parameters
are float32; `dtype` is the type computed in, but softmax and layer norm are float32 always.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.nn.bert_config import BertConfig
from vita_jax.nn.hash_dropout import hash_dropout

PRUNABLE = r"^bert/(encoder/.+|pooler)/kernel$"  # 6 matrices a layer and the pooler: 73 of BERT-base


@jax.custom_vjp
def gelu(x: jax.Array) -> jax.Array:
  """Computes x Φ(x) with erf, as BERT does (jax.nn.gelu has tanh by default, and erfc is slow on CPUs).

  The backward pass keeps x alone and computes the derivative Φ(x) + x φ(x) again: arrays this wide cost more
  to store and fetch than to compute.
  """
  return x * _normal_cdf(x)


def _normal_cdf(x):
  return 0.5 * (1 + jax.lax.erf(x * np.asarray(np.sqrt(0.5), x.dtype)))


def _gelu_backward(x, gradient):
  density = jnp.exp(-0.5 * x * x) * np.asarray(1 / np.sqrt(2 * np.pi), x.dtype)
  return (gradient * (_normal_cdf(x) + x * density),)


gelu.defvjp(lambda x: (gelu(x), x), _gelu_backward)

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  "gelu": gelu,
  "gelu_new": lambda x: jax.nn.gelu(x, approximate=True),
  "gelu_pytorch_tanh": lambda x: jax.nn.gelu(x, approximate=True),
  "relu": jax.nn.relu,
}


def normal(deviation: float) -> Callable[..., jax.Array]:
  """Makes an initializer, N(0, deviation^2); drawn flat, it compiles several times faster for the CPU."""

  def init(key, shape):
    return deviation * jax.random.normal(key, (math.prod(shape),)).reshape(shape)

  return init


class Dense(nn.Module):
  """x [..., n] -> x @ kernel [n, features] + bias."""

  features: int
  config: BertConfig
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    init = normal(self.config.initializer_range)
    kernel = self.param("kernel", init, (x.shape[-1], self.features))
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    # As two axes: the gradient of the kernel is then one plain product, without a transposed copy.
    out = x.reshape(-1, x.shape[-1]) @ kernel.astype(self.dtype) + bias.astype(self.dtype)
    return out.reshape(*x.shape[:-1], self.features)


class LayerNorm(nn.Module):
  """(x - mean) / sqrt(variance + eps) * scale + bias over the last axis; biased variance, in float32."""

  config: BertConfig
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
    bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
    x = x.astype(jnp.float32)
    centred = x - x.mean(-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), -1, keepdims=True)
    normal = centred * jax.lax.rsqrt(variance + self.config.layer_norm_eps)
    return (normal * scale + bias).astype(self.dtype)


class Embedding(nn.Module):
  """A table [n, H]. Row `frozen_row` gets no gradient from a lookup, as torch's `padding_idx`."""

  n: int
  config: BertConfig
  frozen_row: int | None = None

  def setup(self):
    self.embedding = self.param("embedding", self._init, (self.n, self.config.hidden_size))

  def _init(self, key, shape):
    table = normal(self.config.initializer_range)(key, shape)
    return table if self.frozen_row is None else table.at[self.frozen_row].set(0)

  def __call__(self, ids):
    rows = self.embedding[ids]
    if self.frozen_row is None:
      return rows
    return jnp.where((ids == self.frozen_row)[..., None], jax.lax.stop_gradient(rows), rows)


class Embeddings(nn.Module):
  """Sum of word, position and type embeddings, layer norm, dropout."""

  config: BertConfig
  dtype: Any = jnp.float32
  pad_gradient: bool = False

  def setup(self):
    c = self.config
    frozen = None if self.pad_gradient else c.pad_token_id
    self.word_embeddings = Embedding(c.vocab_size, c, frozen)
    self.position_embeddings = Embedding(c.max_position_embeddings, c)
    self.token_type_embeddings = Embedding(c.type_vocab_size, c)
    self.layer_norm = LayerNorm(c, self.dtype)

  def __call__(self, ids, types, key):
    x = self.word_embeddings(ids) + self.token_type_embeddings(types)
    x = x + self.position_embeddings.embedding[: ids.shape[1]]
    return _dropout(key, self.layer_norm(x), self.config)


class Attention(nn.Module):
  """Self-attention of A heads, its output map, and the first residual with its layer norm."""

  config: BertConfig
  dtype: Any = jnp.float32

  def setup(self):
    c = self.config
    self.query, self.key, self.value, self.output = (Dense(c.hidden_size, c, self.dtype) for _ in range(4))
    self.layer_norm = LayerNorm(c, self.dtype)

  def __call__(self, x, mask, key):
    heads = (*x.shape[:2], self.config.num_attention_heads, -1)
    q, k, v = (part(x).reshape(heads) for part in (self.query, self.key, self.value))
    rate, positions = self.config.attention_probs_dropout_prob, self.config.max_position_embeddings
    if key is None or rate == 0:  # the library has no dropout
      context = jax.nn.dot_product_attention(q, k, v, mask=mask[:, None, None, :] > 0)
    else:
      scores = jnp.einsum("btad,bsad->bats", q, k, preferred_element_type=jnp.float32)
      scores = scores * np.float32(q.shape[-1] ** -0.5) + mask_bias(mask)
      strides = (heads[2] * positions**2, positions**2, positions, 1)
      probabilities = hash_dropout(_fold(key, 0), jax.nn.softmax(scores, axis=-1), rate, strides=strides)
      context = jnp.einsum("bats,bsad->btad", probabilities.astype(self.dtype), v)
    out = self.output(context.reshape(x.shape))
    return self.layer_norm(_dropout(_fold(key, 1), out, self.config) + x)


class Layer(nn.Module):
  """Attention, then the feed-forward map with its residual and layer norm (post-norm)."""

  config: BertConfig
  dtype: Any = jnp.float32

  def setup(self):
    c = self.config
    self.attention = Attention(c, self.dtype)
    self.intermediate = Dense(c.intermediate_size, c, self.dtype)
    self.output = Dense(c.hidden_size, c, self.dtype)
    self.layer_norm = LayerNorm(c, self.dtype)

  def __call__(self, x, mask, key):
    x = self.attention(x, mask, _fold(key, 0))
    out = self.output(ACTIVATIONS[self.config.hidden_act](self.intermediate(x)))
    return self.layer_norm(_dropout(_fold(key, 1), out, self.config) + x)


class Encoder(nn.Module):
  """The layers, `layer_0` first."""

  config: BertConfig
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x, mask, key):
    layer = nn.remat(Layer) if self.remat else Layer
    for n in range(self.config.num_hidden_layers):
      x = layer(self.config, self.dtype, name=f"layer_{n}")(x, mask, _fold(key, n))
    return x


class Bert(nn.Module):
  """The encoder: `apply({"params": params["bert"]}, ids, mask)`.

  Attributes:
    config: sizes and rates.
    dtype: float32 or bfloat16, the type computed in.
    remat: recompute each layer in the backward pass: memory of one layer instead of all.
    pad_gradient: whether the row of the padding token in the word embeddings gets a gradient from the lookup
      (not in Hugging Face).
  """

  config: BertConfig
  dtype: Any = jnp.float32
  remat: bool = False
  pad_gradient: bool = False

  def setup(self):
    self.embeddings = Embeddings(self.config, self.dtype, self.pad_gradient)
    self.encoder = Encoder(self.config, self.dtype, self.remat)
    self.pooler = Dense(self.config.hidden_size, self.config, self.dtype)

  def __call__(self, ids, mask=None, types=None, key=None):
    """The last hidden state [B, T, H].

    Args:
      ids: int32 [B, T], T at most `max_position_embeddings`; an id beyond the vocabulary raises no error.
      mask: [B, T], 1 = a token, 0 = padding (on the right); default: all ones.
      types: int32 [B, T] segment of each token; default: zeros.
      key: PRNG key of the dropout; None = evaluation.

    Raises:
      ValueError: T is beyond the positions the model has.
    """
    if ids.shape[1] > self.config.max_position_embeddings:
      raise ValueError(
        f"{ids.shape[1]} tokens, but the model has {self.config.max_position_embeddings}"
        " positions: cut the text"
      )
    mask = jnp.ones(ids.shape, jnp.float32) if mask is None else mask
    types = jnp.zeros_like(ids) if types is None else types
    x = self.embeddings(ids, types, _fold(key, 0))
    return self.encoder(x, mask, _fold(key, 1))

  def pool(self, hidden):
    """Computes tanh(dense(hidden[:, 0])): [B, T, H] -> [B, H]."""
    return jnp.tanh(self.pooler(hidden[:, 0]))

  def word_table(self):
    """Returns the word embeddings [vocabulary, H], which the masked-LM head shares."""
    return self.embeddings.word_embeddings.embedding


def mask_bias(mask: jax.Array) -> jax.Array:
  """Turns 0/1 [B, T] into float32 [B, 1, 1, T]: 0, or the most negative finite number at padding.

  Finite, so that a row of nothing but padding attends evenly instead of giving NaN.
  """
  lowest = np.finfo(np.float32).min
  return jnp.where(mask[:, None, None, :] > 0, np.float32(0), lowest)


def _fold(key, number):
  return None if key is None else jax.random.fold_in(key, number)


def _dropout(key, x, config):
  strides = (config.max_position_embeddings * x.shape[-1], x.shape[-1], 1)
  return hash_dropout(key, x, config.hidden_dropout_prob, strides=strides)
