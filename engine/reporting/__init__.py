"""Results for people: the report of a run, the table of several, and the check that results belong to their files."""
