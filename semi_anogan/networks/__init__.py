"""Every trainable network with its layers, losses, objective and schedule, and the search on the latents. No
file, no statistics of a data set.
"""
