"""Timings that are no part of the product; each folder measures one package of the repository."""
