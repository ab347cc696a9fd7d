"""What a training shows and writes."""
