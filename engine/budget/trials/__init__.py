"""Trials on this machine that a plan is made from: iterations, scores and saves on black images."""
