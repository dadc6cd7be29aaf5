"""The reductions, one file each: Ray tasks over blocks, and what the driver makes of their sums."""
