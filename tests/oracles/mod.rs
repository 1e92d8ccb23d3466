//! Bodies of fuzz targets that hold ours against another crate, which dunlin itself does not have.

#[cfg(feature = "cli")]
pub(crate) mod config;
pub(crate) mod differential;
#[cfg(feature = "jwt")]
pub(crate) mod token;
pub(crate) mod values;
