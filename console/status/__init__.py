"""`sluice status`: where each part stands, and what to do about what is red."""
