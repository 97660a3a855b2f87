"""What the tests are made of; README.md beside the layers says what each module is."""
