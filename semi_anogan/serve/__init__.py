"""The service: images come over HTTP, and scores, labels and regions go back. No framework."""
