"""The run folder: its files, and what is built from its configuration. No detector, no training loop."""
