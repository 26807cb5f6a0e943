"""Both stages' training: one loop, and what the router and the experts bring to it."""
