"""What tests, benches and chaos share: a running suite, and an upstream that does as it is told."""
