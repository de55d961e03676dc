"""What the verbs do where volumes have label volumes: train, prove, measure, predict."""
