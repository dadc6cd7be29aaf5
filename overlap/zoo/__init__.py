"""Which checkpoints a study names, how each is identified, prepared and loaded."""
