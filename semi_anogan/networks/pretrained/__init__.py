"""Networks pretrained on ImageNet, as features. Nothing is trained here but the offsets of their last blocks."""
