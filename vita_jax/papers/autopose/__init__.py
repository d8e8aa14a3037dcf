"""AutoPose (arXiv 2008.07018)."""
