"""launch/asg/policy.py: the decisions of a run as a picture."""

from launch.commands import launch, refused, succeeded
from vita_jax.optim import layerwise
from vita_jax.report.layerwise import OBSERVED

HEAD = ",".join(["step", *OBSERVED, "conv1", "head"])


def test_it_draws_the_decisions_and_says_their_means(tmp_path):
  assert OBSERVED == layerwise.OBSERVED
  (tmp_path / "policy.csv").write_text(f"{HEAD}\n10,1,0,0.1,0,0.1,0.2,1.0\n20,1,0,0.2,0,0.1,0.4,0.0\n")
  said = succeeded(launch("asg/policy", f"--workdir={tmp_path}"))
  assert "2 decisions; mean multipliers: conv1 0.30, head 0.50" in said and (tmp_path / "policy.png").exists()
  refused(launch("asg/policy", f"--workdir={tmp_path}", "--seed_number=1"), "no policy_1.csv in")


def test_what_is_no_run_and_no_list_is_refused(tmp_path):
  refused(launch("asg/policy", f"--workdir={tmp_path / 'none'}"), "--workdir takes that of a finished run")
  refused(launch("asg/policy", f"--workdir={tmp_path}"), "give a finished run of configs/asg")
  (tmp_path / "policy.csv").write_text("step,loss\n1,2\n")
  refused(launch("asg/policy", f"--workdir={tmp_path}"), "is no list of decisions")
