"""Every trainable network, its layers, losses, objective, schedule; the search on the latents. No files."""
