"""Images and where they come from, with numpy and Pillow. No network, no framework, no run folder."""
