"""Settings of trainings: of the router, and of experts."""
