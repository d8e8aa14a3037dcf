"""paraphrase-MiniLM-L3-v2 (Apache-2.0), a BERT encoder of three layers: from its file to a model folder.

The weights are a float16 file without pooler and config; they were fine-tuned for sentence similarity, so
that "pre-trained" is not masked-LM here.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from vita_jax.base.files import write_bytes, write_json
from vita_jax.data.files import read_safetensors
from vita_jax.data.sources import missing, source_files

CONFIG = {
  "model_type": "bert",
  "architectures": ["BertModel"],
  "torch_dtype": "float32",
  "vocab_size": 30522,
  "hidden_size": 384,
  "num_hidden_layers": 3,
  "num_attention_heads": 12,
  "intermediate_size": 1536,
  "hidden_act": "gelu",
  "hidden_dropout_prob": 0.1,
  "attention_probs_dropout_prob": 0.1,
  "max_position_embeddings": 512,
  "type_vocab_size": 2,
  "initializer_range": 0.02,
  "layer_norm_eps": 1e-12,
  "pad_token_id": 0,
}


def write_minilm_l3(folder: Path) -> Path:
  """Converts $VITA_DATA_DIR/minilm_l3 to a float32 Hugging Face folder, and returns the folder.

  Raises:
    FileNotFoundError: a file is not there.
    ValueError: one that is not what is recorded.
  """
  from safetensors.numpy import save

  files = source_files("minilm_l3")
  if files is None:
    raise FileNotFoundError(f"{missing('minilm_l3')}: put it there")
  tensors = {}
  for name, x in read_safetensors(files["minilm_l3/minilm_l3_fp16.safetensors"]).items():
    x = np.asarray(x, np.float32)
    # Its dense layers are stored [in, out] as `kernel`; Hugging Face has [out, in].
    name, x = (name.removesuffix("kernel") + "weight", x.T) if name.endswith(".kernel") else (name, x)
    tensors[name] = np.ascontiguousarray(x)
  folder.mkdir(parents=True, exist_ok=True)
  write_json(folder / "config.json", CONFIG)
  write_bytes(folder / "model.safetensors", save(tensors, metadata={"format": "pt"}))
  shutil.copyfile(files["minilm_l3/vocab.txt"], folder / "vocab.txt")
  return folder
