//! Simple second implementations that the fuzz targets compare with, and a reader of their input.
//!
//! They are compiled for tests and for `fuzz/` only. They share no code with what they check.

#![allow(clippy::indexing_slicing, reason = "a target that panics reports a bug")]

mod base64url;
mod input;
mod json;

pub(crate) use self::{
    base64url::{decode_base64url, encode_base64url},
    input::Input,
    json::Json,
};
