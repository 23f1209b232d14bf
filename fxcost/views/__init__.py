"""Views: text made from a finished report. Nothing here measures, and no other module needs a view."""
