"""Canonical Gaussians and the networks' heads, which E-D3DGS and 4DGaussians share."""
