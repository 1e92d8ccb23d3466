//! RFC 6455 over byte slices.
