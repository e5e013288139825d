"""Hostile octets for everything that reads some: targets, mutators, the drivers that join them, and what they found."""
