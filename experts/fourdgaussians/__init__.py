"""4DGaussians (Wu et al., CVPR 2024): one network on HexPlane features deforms all Gaussians."""
