"""Linear heads on frozen features: what a model's features say, alone and beside another's."""
