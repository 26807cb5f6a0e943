"""First Gaussians of FreeTime: what stands still, and what moves, found without networks."""
