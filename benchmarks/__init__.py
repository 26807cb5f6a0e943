"""Times and memory of commands and of their parts: one file or folder a benchmark; no user's run imports this."""
