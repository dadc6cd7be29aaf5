"""To what the sums of soft measures are rounded, image by image: sums of such numbers are exact in any order."""

from __future__ import annotations

FINE, COARSE = 2.0**36, 2.0**30
"""Binary places of what lies within 0 and 1, and of divergences without a bound."""
