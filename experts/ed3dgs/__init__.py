"""E-D3DGS (Bae et al., ECCV 2024): an embedding for each Gaussian, two networks that deform it."""
