"""A run's experts: loaded and frozen, images of one alone, and what holds at views that nobody trained on."""
