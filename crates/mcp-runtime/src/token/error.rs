//! Why a token is refused, in words for the caller. Never holds a part of the token: what a caller
//! sent is not sent back, and not logged.

use portcullis_wire::Slug;

use super::replay::BindingStoreError;

/// A refused token. `Display` says what is wrong, [`TokenError::remedy`] what to do.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// No credentials were sent.
    #[error("the request has no Authorization header")]
    Missing,
    /// More than one `Authorization` header was sent.
    #[error("the request has more than one Authorization header")]
    SeveralCredentials,
    /// Another scheme than `Bearer`, or no token after it.
    #[error("the Authorization header is not the word Bearer, a space and one token")]
    NotBearer,
    /// Larger than any token that is issued here.
    #[error("the access token is longer than 8,192 bytes")]
    TooLong,
    /// Not a compact JWS of JSON objects.
    #[error("the access token cannot be read: {part} malformed")]
    Malformed {
        /// Which part.
        part: TokenPart,
    },
    /// A member name stands twice.
    #[error("the access token says something twice: a name is repeated in {part}")]
    Repeated {
        /// Which part.
        part: TokenPart,
    },
    /// A header member by which a token would choose its own key or its own rules.
    #[error("the access token's header has `{member}`, which is never accepted")]
    ForbiddenHeader {
        /// The member's name, from our own list.
        member: &'static str,
    },
    /// Not an access token by its `typ`.
    #[error("the access token's `typ` is not `at+jwt`")]
    Type,
    /// An algorithm that is not accepted, `none` and HMAC among them.
    #[error("the access token's `alg` is not one of EdDSA, ES256, RS256, PS256")]
    Algorithm,
    /// No usable key id.
    #[error("the access token's `kid` is missing, empty or longer than 128 bytes")]
    KeyId,
    /// An issuer that the tenant does not trust.
    #[error("the access token's issuer is not trusted here")]
    UnknownIssuer,
    /// A key id that the issuer does not have.
    #[error("the access token's issuer has no key of that `kid`")]
    UnknownKey,
    /// `alg` is not the algorithm of the key that `kid` names.
    #[error("the access token's `alg` is not the algorithm of its key")]
    AlgorithmOfAnotherKey,
    /// The signature is wrong.
    #[error("the access token's signature is wrong")]
    Signature,
    /// A claim that is needed is not there.
    #[error("the access token has no `{claim}` claim")]
    ClaimMissing {
        /// The claim.
        claim: &'static str,
    },
    /// A claim of the wrong JSON type, or outside its bounds.
    #[error("the access token's `{claim}` claim is not {expected}")]
    ClaimMalformed {
        /// The claim.
        claim: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// Made for another URL.
    #[error("the access token was issued for another resource than this URL")]
    Audience,
    /// Lives too long.
    #[error("the access token lives longer than 600 seconds, or not at all")]
    Lifetime,
    /// Past its end.
    #[error("the access token has expired")]
    Expired,
    /// Before its beginning.
    #[error("the access token is not valid yet: its `nbf` is in the future")]
    NotYetValid,
    /// Issued later than now.
    #[error("the access token's `iat` is in the future")]
    IssuedInFuture,
    /// Bound to a key or certificate, and nothing here can check the proof.
    #[error(
        "the access token is bound to a certificate or key (`cnf`), which cannot be proved here"
    )]
    ProofImpossible,
    /// A plain bearer token where the tenant refuses them.
    #[error("this tenant refuses plain bearer tokens")]
    BearerRefused,
    /// First used from another network.
    #[error("the access token was first used from another network")]
    Replayed,
    /// Used a second time, where one use is all.
    #[error("the access token was used before, and each token is good for one use here")]
    Spent,
    /// A trusted proxy did not say who the client is.
    #[error("the proxy's Forwarded header does not say who the client is")]
    ClientUnknown,
    /// Whether the token was used before cannot be found out.
    #[error("cannot check whether the access token was used before")]
    Unavailable(#[source] BindingStoreError),
}

/// A part of a compact JWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPart {
    /// The three parts and their encoding.
    Structure,
    /// The header.
    Header,
    /// The claims.
    Claims,
    /// The claim that says who acts for whom.
    Actor,
}

impl std::fmt::Display for TokenPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Structure => "its structure is",
            Self::Header => "its header is",
            Self::Claims => "its claims are",
            Self::Actor => "its `act` claim is",
        })
    }
}

impl TokenError {
    /// The problem's type; it has the HTTP status.
    pub const fn slug(&self) -> Slug {
        match self {
            Self::Missing | Self::NotBearer => Slug::TokenMissing,
            Self::Expired => Slug::TokenExpired,
            Self::Replayed | Self::Spent => Slug::TokenReplayed,
            Self::SeveralCredentials | Self::ClientUnknown => Slug::MalformedRequest,
            Self::Unavailable(_) => Slug::Unavailable,
            Self::TooLong
            | Self::Malformed { .. }
            | Self::Repeated { .. }
            | Self::ForbiddenHeader { .. }
            | Self::Type
            | Self::Algorithm
            | Self::KeyId
            | Self::UnknownIssuer
            | Self::UnknownKey
            | Self::AlgorithmOfAnotherKey
            | Self::Signature
            | Self::ClaimMissing { .. }
            | Self::ClaimMalformed { .. }
            | Self::Audience
            | Self::Lifetime
            | Self::NotYetValid
            | Self::IssuedInFuture
            | Self::ProofImpossible
            | Self::BearerRefused => Slug::TokenInvalid,
        }
    }

    /// The `error` of the `WWW-Authenticate` challenge (RFC 6750 §3.1). A request without a bearer
    /// token gets none, and neither does one that failed for no fault of its own.
    pub fn bearer_error(&self) -> Option<&'static str> {
        match self.slug().status() {
            400 => Some("invalid_request"),
            401 if self.slug() != Slug::TokenMissing => Some("invalid_token"),
            _ => None,
        }
    }

    /// What the caller can do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Missing | Self::SeveralCredentials | Self::NotBearer => {
                "Send exactly one header `Authorization: Bearer <access token>`; a token in the URL \
                 or the body is never read."
            }
            Self::Expired => "Get a new access token from the token endpoint and repeat the call.",
            Self::Replayed => {
                "Get an access token for this client and use it from one network only. If you did \
                 not use it elsewhere, treat the token as stolen."
            }
            Self::Spent => "Get a new access token for each request.",
            Self::Audience => {
                "Ask the token endpoint for a token whose `resource` is this URL's resource \
                 identifier."
            }
            Self::NotYetValid | Self::IssuedInFuture => {
                "Set the clock of the token's issuer; up to 60 seconds of difference are accepted."
            }
            Self::ProofImpossible => {
                "Get an access token without `cnf`: this endpoint does not take certificates or \
                 DPoP proofs yet."
            }
            Self::BearerRefused => {
                "The tenant asks for sender-constrained tokens, which this endpoint cannot check \
                 yet: its administrator has to choose another replay mode."
            }
            Self::ClientUnknown => {
                "The operator of the proxy has to make it send a well-formed Forwarded header \
                 (RFC 7239) with `for=`."
            }
            Self::Unavailable(_) => "Repeat the call later.",
            Self::TooLong
            | Self::Malformed { .. }
            | Self::Repeated { .. }
            | Self::ForbiddenHeader { .. }
            | Self::Type
            | Self::Algorithm
            | Self::KeyId
            | Self::UnknownIssuer
            | Self::UnknownKey
            | Self::AlgorithmOfAnotherKey
            | Self::Signature
            | Self::ClaimMissing { .. }
            | Self::ClaimMalformed { .. }
            | Self::Lifetime => {
                "Get an access token from the authorization server that the resource metadata \
                 names, and send it unchanged."
            }
        }
    }
}
