"""The fan-out on Ray: the driver's loop, the predictors of each node, what they do, and what is remembered of it."""
