"""Words, tables, units and progress for people who read them."""
