"""Linear probes as heads of checkpoints that have none: which wait, and how theirs are fitted."""
