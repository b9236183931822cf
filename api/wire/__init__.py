"""The shapes on the wire, one module per subject: camelCase outside, snake_case inside, null where unknown."""
