"""From images to score, label and map: the detector and its parts. What they learn from lies in training."""
