"""The demo: a generated scene, its four small experts, and the commands that show them."""
