"""Images that show what a preparation gave."""
