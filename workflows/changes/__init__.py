"""What a reduction changed beside the one before it, and who is told."""
