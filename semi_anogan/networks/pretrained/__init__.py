"""Networks pretrained on ImageNet, as features. Nothing but the offsets of their last blocks is trained."""
