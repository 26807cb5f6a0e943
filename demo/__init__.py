"""The demo: a generated scene, four small experts trained on it, and the commands that film, score and show them."""
