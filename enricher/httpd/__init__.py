"""A small HTTP/1.1 server over asyncio, for the worker's health and the development history service."""
