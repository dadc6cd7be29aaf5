"""Arrays in, tables out: consistency, calibration, ensembles, greedy search, categories, and their intervals.

Guarantees: knows numpy, scipy, polars and numba only; no input or output, no hidden state, no threads of its own; what
is summed over blocks of images is integers, so that results are the same whatever the number of blocks. A model axis
always comes as names, sorted. Fractions are 0–1; what is undefined is null in tables (NaN in arrays), and `notes` says
why and how often.
"""
