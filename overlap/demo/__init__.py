"""The embedded study: real digits, and the recipes its zoo is trained by."""
