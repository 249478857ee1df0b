"""Image bytes and file names: formats, Pillow, notebook display, output templates, atomic files."""
