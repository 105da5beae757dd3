"""Measurements of the worker beside programs that do the same job; ``python -m bench`` runs them."""
