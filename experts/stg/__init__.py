"""STG, Spacetime Gaussians (Li et al., CVPR 2024): polynomial motion and a temporal window."""
