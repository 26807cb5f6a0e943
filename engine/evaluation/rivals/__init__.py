"""Images that the mixture is compared with: baselines and upper bounds."""
