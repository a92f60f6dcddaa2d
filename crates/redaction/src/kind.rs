//! What can be found: the kinds of personal data and secrets, and the mask each leaves behind.
//!
//! A mask must never itself look like something that a detector finds.

use std::fmt;

use serde::Serialize;

/// One kind of personal data or secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An e-mail address.
    Email,
    /// A phone number.
    Phone,
    /// A payment card number that passes the Luhn check.
    Card,
    /// An IBAN that passes the mod 97 check.
    Iban,
    /// A US social security number.
    Ssn,
    /// A national identity number of another country, which passes its check.
    #[serde(rename = "national_id")]
    NationalId,
    /// An IP address.
    Ip,
    /// A credential of a well-known form: key, token, private key, password in a URL.
    Secret,
    /// A text that could not be inspected within the bounds, and so is treated as the worst.
    Uninspectable,
}

impl Kind {
    /// The name used in policies (`data.pii_types`), reports and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Ssn => "ssn",
            Self::NationalId => "national_id",
            Self::Ip => "ip",
            Self::Secret => "secret",
            Self::Uninspectable => "uninspectable",
        }
    }

    /// What stands in the place of a masked string of this kind.
    pub const fn mask(self) -> &'static str {
        match self {
            Self::Email => "***@***",
            Self::Phone => "***-***",
            Self::Card
            | Self::Iban
            | Self::Ssn
            | Self::NationalId
            | Self::Ip
            | Self::Secret
            | Self::Uninspectable => MASK,
        }
    }

    /// The kind that a data class of a schema (`x-data-class`) speaks of, if a detector knows it.
    pub fn of_class(class: &str) -> Option<Self> {
        match class {
            "email" => Some(Self::Email),
            "phone" => Some(Self::Phone),
            "card" | "credit_card" | "payment_card" | "pan" => Some(Self::Card),
            "iban" | "bank_account" => Some(Self::Iban),
            "ssn" => Some(Self::Ssn),
            "national_id" | "national_identifier" => Some(Self::NationalId),
            "ip" | "ip_address" => Some(Self::Ip),
            "secret" => Some(Self::Secret),
            _ => None,
        }
    }

    /// Which of two findings of the same length names what was found.
    pub(crate) const fn rank(self) -> u8 {
        match self {
            Self::Phone => 0,
            Self::Email => 1,
            Self::Ip => 2,
            Self::NationalId => 3,
            Self::Ssn => 4,
            Self::Iban => 5,
            Self::Card => 6,
            Self::Secret => 7,
            Self::Uninspectable => 8,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What stands in the place of any other masked string.
pub(crate) const MASK: &str = "***";

/// A small set of kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u16);

impl Kinds {
    /// No kind.
    pub(crate) const NONE: Self = Self(0);

    /// Whether `kind` is in the set.
    pub(crate) const fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind.rank()) != 0
    }

    /// The set with `kind`.
    pub(crate) const fn with(self, kind: Kind) -> Self {
        Self(self.0 | (1 << kind.rank()))
    }

    /// All kinds of both sets.
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the sets have a kind in common.
    pub(crate) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}
