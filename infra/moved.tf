# Renamed resources: a `moved` block each, kept for good, so that an upgrade renames and never replaces.
# Since 0.1.0: none. docs/upgrades.md has the rule.
