"""Images: the sources they come from, their files, their use in training and testing, and training batches.

Knows no networks and no run folder. No framework either, but for TensorFlow Datasets in sources/tfds.py.
"""
