//! HTTP/1.1 over byte slices.
