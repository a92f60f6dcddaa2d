//! The detectors, each for one kind. They see one text as it is; decoding is done before them.
//!
//! A detector costs time linear in the text and may report too much at an edge, never a stretch
//! outside the text.

pub(crate) mod card;
pub(crate) mod email;
pub(crate) mod groups;
pub(crate) mod iban;
pub(crate) mod identity;
pub(crate) mod ip;
pub(crate) mod national;
pub(crate) mod phone;
pub(crate) mod secret;
pub(crate) mod ssn;
