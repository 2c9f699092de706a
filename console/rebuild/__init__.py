"""`sluice rebuild`: a new index beside the old one, and no moment without either."""
