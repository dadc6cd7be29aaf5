"""What runs on Ray: one file a workflow, each a story of stages; the library underneath knows nothing of Ray."""
