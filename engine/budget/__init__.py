"""A run within a budget: trials on this machine, the plan that follows from them, and keeping it."""
