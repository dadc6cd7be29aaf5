"""An ensemble as something that can be asked: chosen from results, exported as a folder, loaded as a torch module."""

from overlap.ensemble.loading import load

__all__ = ["load"]
