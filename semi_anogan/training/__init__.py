"""The training loop, what a person sees of it, and from trained networks to a fitted detector. No test image."""
