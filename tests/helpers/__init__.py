"""What several tests share: small runs, stand-ins, bad files, and programs that tests start as processes."""
