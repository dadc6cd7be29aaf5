"""Shards in, decoded batches out; images packed into shards."""
