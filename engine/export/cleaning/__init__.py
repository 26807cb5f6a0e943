"""Gaussians that files leave out, since players have no rules for views that nobody trained on."""
