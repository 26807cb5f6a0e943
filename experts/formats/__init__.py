"""Other people's files, read without running anything in them: PLY, torch files, cfg_args."""
