"""Scores of a run or an expert: metrics under named protocols, baselines, result files."""
