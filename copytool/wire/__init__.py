"""Pure functions on packet bytes: sequence arithmetic, checksums, TCP/IP headers."""
