"""What tests of several packages share: real servers, real processes, waiting for conditions."""
