"""Splats for players, which draw by 3DGS's convention and have no rules for views that nobody trained on."""
