"""The page that shows a notebook, as a subscriber."""
