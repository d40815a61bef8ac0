"""Merging adapters into a base and proving it. Knows no training, no job store and no HTTP."""
