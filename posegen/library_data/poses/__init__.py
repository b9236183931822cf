"""One TOML file per pose; its name is the slug of the pose."""
