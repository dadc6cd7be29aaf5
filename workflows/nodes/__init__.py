"""The Ray cluster: joined or started, looked at before it is used, asked to grow."""
