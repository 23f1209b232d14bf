"""The parts of the HTML page: its data, its cards, and (in `assets/`) its template, style and scripts."""
