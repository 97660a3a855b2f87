"""What the tests are made of; tests/README.md describes each module."""
