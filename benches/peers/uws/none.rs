//! Nothing: this package only names where the sources of uWebSockets come from.
