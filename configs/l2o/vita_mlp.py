"""Meta-trains the general optimizer, a network of 173 weights, on eleven families of small problems at once.

  python launch/train.py --config=configs/l2o/vita_mlp.py --workdir=runs/vita_mlp
  python launch/l2o/state.py --workdir=runs/vita_mlp --out=vita_mlp_state.safetensors   # some kB: keep it
  python launch/train.py --config=configs/l2o/vita_mlp.py:pes --workdir=runs/vita_mlp_pes \\
    --config.resume_from=vita_mlp_state.safetensors

The argument is the meta-gradient: "truncated" (default) through 50 steps, to begin with, or "pes", which sees
whole optimizations and is far noisier. Optimizations have 100 to 2,000 steps (log-uniform) with a cosine
decay of the rate, four at once that begin one after the other, tensors scaled at random by up to 3; validated
on problems that are not trained on. Steps are of one size whatever the gradients, so it is trained at rates
as they will be used: 0.01 is near the best one of the untrained optimizer on these problems (0.01 to 0.03 in
300 steps), and at a constant rate no loss becomes small. Theta's own rate decays over inner_steps: set those
to what the time allows.
Hardware: one CPU core, resumable at any step. Time: 5 to 10 minutes to compile either, then 10 minutes
for the truncated part and one hour and a half for PES, estimated from 0.4 to 1 ms an inner step (PES counts
both of a pair as one). Memory: 2 GB, estimated. The digits come with scikit-learn.
Number: `validation_cost`, the mean ln(last / first loss) of held-out problems after 2,000 steps. Pilots: -7.6
nearly untrained, -7.9 to -8.3 after 64,000 to 200,000 inner steps of the truncated gradient, and worse again
with more (-7.4 after 590,000, which is why they are few); PES not better within its first 400,000.
"""

from vita_jax.base.choose import choose
from vita_jax.optim.families import FAMILIES
from vita_jax.papers.l2o.recipe import default_config

INNER_STEPS = {"truncated": 200_000, "pes": 8_000_000}  # those of "pes" count what it continues from


def get_config(gradient: str = "truncated"):
  gradient = choose("gradient", gradient or "truncated", INNER_STEPS)
  config = default_config("vita_mlp", "plain")
  config.optimizer.scale = 1e-2
  config.mixture.update({"tasks": FAMILIES, "held_out": ("digits_deeper", "digits_conv", "quadratic")})
  config.mixture.update({"reparametrise": 3.0, "shortest": 100, "staggered": True, "schedule": "cosine"})
  config.update({"stages": (2000,), "unroll_length": 50, "meta_batch": 4, "meta_loss": "log_ratio"})
  config.meta.update(
    {"gradient": gradient, "sigma": 0.01, "learning_rate": 1e-3, "schedule": "cosine", "clip_each": 1.0}
  )
  config.validation.update({"every": 160, "runs": 4})
  config.optimizee.batch_size, config.patience = 64, "continue"
  config.inner_steps, config.epochs = INNER_STEPS[gradient], 100_000
  return config
