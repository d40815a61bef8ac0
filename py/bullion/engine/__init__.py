"""Serving: many streams over one resident base. Knows no HTTP, no bridge and no thread."""
