"""The reports of a run and of an expert as HTML pages: what they show, and how it is drawn."""
