"""The review page: a person sorts a run's images, moves its threshold and has its detector fitted again."""
