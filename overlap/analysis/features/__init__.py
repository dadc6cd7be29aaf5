"""What two models' features share: kernels alignment, predictability, diversity, and the tables of the probes."""
