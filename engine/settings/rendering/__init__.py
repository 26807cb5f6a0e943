"""Settings of renderings: views, maps, protocols of metrics."""
