"""Ground floor: small helpers that know nothing of the other packages."""
