"""Images that show a prepared scene."""
