"""Ex4DGS (Lee et al., NeurIPS 2024): static Gaussians, and dynamic ones with keyframes."""
