"""Metrics that compare SR with HR or LR, or look at SR alone, and their tables."""
