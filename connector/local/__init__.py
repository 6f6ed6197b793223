"""A broker, a registry and an exchange on this machine: for the demo, our tests and our users' tests."""
