"""The results for a person: figures, one offline page, and the few lines a terminal prints.

Guarantees: everything here is a function of `Results` (tables already reduced); nothing is computed from predictions
and nothing is read from a store, a network or the clock, so that the same results give the same bytes with the same
versions.
"""

from overlap.report.figures import Figure, draw_figures
from overlap.report.findings import Findings, find
from overlap.report.page import render_page
from overlap.report.results import Results
from overlap.report.summary import summary, summary_text

__all__ = ["Figure", "Findings", "Results", "draw_figures", "find", "render_page", "summary", "summary_text"]
