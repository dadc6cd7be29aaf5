"""Ensembles from the largest logits of each image and moments of the rest: bounds certify, or say that they cannot."""
