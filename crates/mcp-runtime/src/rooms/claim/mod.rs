//! Room 5: the call gets its record id, and its arguments are sealed for the record.
//!
//! What the record keeps of the arguments is a salted commitment; the arguments themselves are
//! encrypted with the tenant's data key. A call whose arguments cannot be sealed does not run.

use portcullis_domain::Id;
use portcullis_domain::id::Record;
use portcullis_evidence::record::Payload;
use portcullis_evidence::{Canonical, CanonicalError, Field, Salts};
use portcullis_keys::entropy::EntropyError;
use portcullis_keys::{Aad, EnvelopeError, entropy};
use portcullis_store::RecordError;
use portcullis_store::writer::NewCallInputs;
use portcullis_wire::Slug;

use super::decide::{Decided, Fate, Permitted};
use super::validate::{Passage, Refused};
use crate::gate::Gate;
use crate::snapshot::TenantKey;

/// The use of the ciphertext of arguments, bound into it.
pub(crate) const ARGUMENTS_USAGE: &str = "call_inputs.arguments";
/// The use of the ciphertext of salts, bound into it.
pub(crate) const SALTS_USAGE: &str = "call_inputs.salts";

/// The most bytes of arguments that are kept of a call to a tool that the caller cannot have: whoever
/// holds no grant shall not fill the disk. The commitment stands in the record all the same.
const MAX_KEPT_OF_UNKNOWN: usize = 16 * 1_024;

/// A call with its record id and its sealed arguments.
#[derive(Debug)]
pub struct Claimed {
    pub(in crate::rooms) step: Step,
    pub(in crate::rooms) seal: Seal,
}

/// What is left to do.
#[derive(Debug)]
pub(in crate::rooms) enum Step {
    /// Run it.
    Run(Box<Permitted>),
    /// Only record that it was refused.
    Refuse(Box<Refused>, Option<Decided>),
}

/// What the record keeps of the arguments.
#[derive(Debug)]
pub(in crate::rooms) struct Seal {
    pub(in crate::rooms) record: Id<Record>,
    pub(in crate::rooms) salts: Salts,
    /// None where the arguments have no canonical form: then the call is refused.
    pub(in crate::rooms) arguments: Option<Payload>,
    pub(in crate::rooms) inputs: Option<NewCallInputs>,
}

/// Why a call could not be claimed or recorded. Nothing was answered, and nothing ran that is not
/// on record.
#[derive(Debug, thiserror::Error)]
pub enum RecordFault {
    /// The arguments could not be encrypted.
    #[error("the arguments could not be sealed")]
    Seal(#[source] EnvelopeError),
    /// There were no random bytes.
    #[error("no random bytes for a record")]
    Entropy(#[source] EntropyError),
    /// A part of the record has no canonical form.
    #[error("a part of the record has no canonical form")]
    Canonical(#[source] CanonicalError),
    /// The record could not be written down or signed.
    #[error("the record could not be signed")]
    Sign(#[source] portcullis_evidence::SealError),
    /// The regional database did not take the record.
    #[error("the record could not be written")]
    Write(#[source] RecordError),
    /// No regional database serves the pool.
    #[error("no regional database serves the pool {0}")]
    NoPool(portcullis_domain::Pool),
}

impl RecordFault {
    /// The problem's type: a replica that is only busy says so.
    pub(in crate::rooms) const fn slug(&self) -> Slug {
        match self {
            Self::Write(RecordError::Busy) => Slug::Overloaded,
            Self::Write(
                RecordError::Stopping
                | RecordError::NotWritten { .. }
                | RecordError::Rejected { .. }
                | RecordError::Unknown,
            )
            | Self::Seal(_)
            | Self::Entropy(_)
            | Self::Canonical(_)
            | Self::Sign(_)
            | Self::NoPool(_) => Slug::AuditUnavailable,
        }
    }
}

/// Enters the room.
///
/// # Errors
/// Fails when the arguments cannot be sealed: then nothing runs.
pub fn enter(gate: &Gate, fate: Fate) -> Result<Claimed, RecordFault> {
    let step = match fate {
        Fate::Permitted(permitted) => Step::Run(permitted),
        Fate::Refused(refused, decided) => Step::Refuse(refused, decided),
    };
    let seal = seal(gate, step.passage())?;
    Ok(Claimed { step, seal })
}

impl Step {
    fn passage(&self) -> &Passage {
        match self {
            Self::Run(permitted) => &permitted.call.passage,
            Self::Refuse(refused, _) => &refused.passage,
        }
    }
}

fn seal(gate: &Gate, passage: &Passage) -> Result<Seal, RecordFault> {
    let random = entropy::random::<42>().map_err(RecordFault::Entropy)?;
    let (mut for_id, mut for_salts) = ([0; 10], [0; 32]);
    for (to, from) in for_id.iter_mut().chain(for_salts.iter_mut()).zip(random) {
        *to = from;
    }
    let record = Id::mint(gate.clock.now(), for_id);
    let salts = Salts::from_bytes(for_salts);
    let arguments = passage.canonical.as_ref();
    let payload = arguments.map(|canonical| Payload::of(&salts, Field::Arguments, canonical));
    let inputs = arguments
        .filter(|canonical| {
            passage.tool.is_some() || canonical.as_bytes().len() <= MAX_KEPT_OF_UNKNOWN
        })
        .map(|canonical| encrypt(passage, record, &salts, canonical))
        .transpose()
        .map_err(RecordFault::Seal)?;
    Ok(Seal {
        record,
        salts,
        arguments: payload,
        inputs,
    })
}

/// Salts and arguments under the tenant's key: emptying them is what erasure and retention do.
fn encrypt(
    passage: &Passage,
    record: Id<Record>,
    salts: &Salts,
    arguments: &Canonical,
) -> Result<NewCallInputs, EnvelopeError> {
    let tenant = passage.admitted.caller.tenant;
    let TenantKey { id, key } = &passage.admitted.snapshot.data_key;
    let aad = |usage| Aad {
        tenant,
        usage,
        row: record.as_bytes(),
    };
    Ok(NewCallInputs {
        data_key: *id,
        salts: key.encrypt(&aad(SALTS_USAGE), salts.as_bytes())?,
        arguments: key.encrypt(&aad(ARGUMENTS_USAGE), arguments.as_bytes())?,
        answer: None,
    })
}
