"""Facts every room needs: errors, configuration, the run directory, events, progress, redaction."""
