"""The training loop, what a person sees of it, and the way to a fitted detector. No test image."""
