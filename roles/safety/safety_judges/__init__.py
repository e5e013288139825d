"""Judges, before anything is changed, whether hosts can be made a mirror safely. Pure: what hosts said goes in."""
