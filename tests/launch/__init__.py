"""Tests of the launch scripts, run as a user runs them."""
