"""Ensembles of many models: exact searches that never hold all probabilities, their outcomes, and their tables."""
