"""Images drawn by code: scenes, captions, edits, SVG documents, and their encoding."""
