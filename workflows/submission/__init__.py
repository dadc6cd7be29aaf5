"""How a study is sent to a cluster as a Ray job, followed, and asked what came of it."""
