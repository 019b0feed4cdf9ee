"""Every service's own reader of a configuration, asked without starting any of them."""
