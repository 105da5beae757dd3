"""Sending dead letters back: what one says, which are chosen, and which have gone back already. Pure."""
