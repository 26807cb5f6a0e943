"""Scores of a mixture or an expert: metrics under named protocols, baselines, result files."""
