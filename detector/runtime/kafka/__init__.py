"""The live side: Kafka in, Kafka out, Faust between. Nothing of it is imported by replay."""
