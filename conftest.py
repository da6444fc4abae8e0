"""Names the harness; everything else is there."""

pytest_plugins = ["tests.harness.plugin"]
