"""Estimates with their uncertainty, one noun a file."""
