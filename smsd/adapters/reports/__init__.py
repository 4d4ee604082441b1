"""The nightly files: CSV and the page."""
