//! The idempotency key of a mutating call, and the keyed hashes by which the database knows it: neither
//! a key nor an argument can be guessed back from them.

use portcullis_evidence::CanonicalError;
use portcullis_wire::Slug;
use serde::Serialize;
use serde_json::{Map, Value};

use super::RecordFault;
use crate::gate::Gate;
use crate::rooms::refusal::Refusal;
use crate::rooms::validate::Passage;

/// The argument that may hold the key.
const ARGUMENT: &str = "idemKey";
/// The longest key, in bytes.
const MAX_KEY: usize = 200;

/// The key of a call, from its argument or from beside the arguments.
pub(super) fn of(passage: &Passage) -> Result<String, Refusal> {
    let argument = passage.arguments.get(ARGUMENT).and_then(Value::as_str);
    let key = match (argument, passage.key.as_deref()) {
        (Some(inside), Some(beside)) if inside != beside => {
            return Err(unfit("two idempotency keys were sent, and they differ"));
        }
        (Some(key), _) | (None, Some(key)) => key,
        (None, None) => return Err(required()),
    };
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if key.is_empty() || key.len() > MAX_KEY || !visible {
        return Err(unfit(
            "an idempotency key has 1 to 200 visible ASCII characters",
        ));
    }
    Ok(key.to_owned())
}

fn required() -> Refusal {
    Refusal::new(
        Slug::IdempotencyKeyRequired,
        "a mutating call needs an idempotency key",
        "Send one in `_meta[\"dev.portcullis/idempotency-key\"]`, in the argument `idemKey` where the \
         tool has it, or in the header `Idempotency-Key` over plain HTTP: new for each call, the \
         same for each repeat of it.",
    )
}

fn unfit(reason: &str) -> Refusal {
    let mut refusal = Refusal::new(
        Slug::InvalidArguments,
        reason,
        "Send one key, new for each call and the same for each repeat of it.",
    );
    let field = Value::String(ARGUMENT.to_owned());
    refusal.facts.insert("field".to_owned(), field);
    refusal
}

/// What the database knows of a key and of what it came with.
#[derive(Debug)]
pub(super) struct Hashes {
    /// Of tenant, principal, tool and key.
    pub(super) key: [u8; 32],
    /// Of tool and arguments.
    pub(super) fingerprint: [u8; 32],
    upstream: [u8; 32],
}

#[derive(Serialize)]
struct Scope<'a> {
    key: &'a str,
    principal: portcullis_domain::Id<portcullis_domain::id::Principal>,
    tenant: portcullis_domain::Id<portcullis_domain::id::Tenant>,
    tool: &'a str,
}

#[derive(Serialize)]
struct Request<'a> {
    arguments: &'a Map<String, Value>,
    tool: &'a str,
}

impl Hashes {
    pub(super) fn of(gate: &Gate, passage: &Passage, key: &str) -> Result<Self, RecordFault> {
        let caller = &passage.admitted.caller;
        let tool = passage.asked_for.as_str();
        let scope = canonical(&Scope {
            key,
            principal: caller.principal,
            tenant: caller.tenant,
            tool,
        })?;
        let mut arguments = passage.arguments.as_object().cloned().unwrap_or_default();
        arguments.remove(ARGUMENT);
        let request = canonical(&Request {
            arguments: &arguments,
            tool,
        })?;
        Ok(Self {
            key: gate.keys.keyed_hash("claims.key", &scope),
            fingerprint: gate.keys.keyed_hash("claims.fingerprint", &request),
            upstream: gate.keys.keyed_hash("claims.upstream", &scope),
        })
    }

    /// The key for an upstream, which shares its keys among all that reach it through us.
    pub(super) fn upstream(&self) -> String {
        portcullis_evidence::Digest::from_bytes(self.upstream).to_string()
    }
}

fn canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, RecordFault> {
    let canonical: Result<_, CanonicalError> = portcullis_evidence::canonical_bytes(value);
    Ok(canonical.map_err(RecordFault::Canonical)?.into_bytes())
}
