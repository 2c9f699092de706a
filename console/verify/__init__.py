"""`sluice verify`: whether index and table agree, and where they do not."""
