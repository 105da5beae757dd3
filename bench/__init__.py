"""Measurements of the worker; ``python -m bench`` runs them."""
