"""The drawings of a report: each takes tables and gives one SVG, with neither words about it nor a place for it."""
