"""`sluice dead-letters`: find what could not be applied, understand it, put it back."""
