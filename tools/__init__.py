"""What maintainers run: `python -m tools.<module>` from the project's folder."""
