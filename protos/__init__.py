"""The wire contract: telemetry.proto and the code generated from it (`make protos`)."""
