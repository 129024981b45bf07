"""What benchmarks are made of; nothing here measures by itself."""
