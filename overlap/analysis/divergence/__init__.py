"""Divergence of pairs beside error inconsistency and kappa: association, soft measures, shared difficulty, tests."""
