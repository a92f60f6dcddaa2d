//! The ids and salts of a call's records, and its arguments under the tenant's key: emptying those is
//! what erasure and retention do.

use portcullis_domain::Id;
use portcullis_domain::id::Record;
use portcullis_evidence::record::Payload;
use portcullis_evidence::{Canonical, Commitment, Field, Salts};
use portcullis_keys::{Aad, EnvelopeError, entropy};
use portcullis_store::writer::NewCallInputs;

use super::RecordFault;
use crate::gate::Gate;
use crate::rooms::validate::Passage;
use crate::snapshot::TenantKey;

/// The use of the ciphertext of arguments, bound into it.
pub(crate) const ARGUMENTS_USAGE: &str = "call_inputs.arguments";
/// The use of the ciphertext of salts, bound into it.
pub(crate) const SALTS_USAGE: &str = "call_inputs.salts";

/// The most bytes of arguments that are kept of a call to a tool that the caller cannot have: whoever
/// holds no grant shall not fill the disk. The commitment stands in the record all the same.
const MAX_KEPT_OF_UNKNOWN: usize = 16 * 1_024;

/// What the records of a call keep of its arguments.
#[derive(Debug)]
pub(in crate::rooms) struct Seal {
    /// The id of the record that says how the call ended.
    pub(in crate::rooms) record: Id<Record>,
    pub(in crate::rooms) salts: Salts,
    /// None where the arguments have no canonical form: then the call is refused.
    pub(in crate::rooms) arguments: Option<Payload>,
    /// What is kept beside that record. A call with an intent keeps its inputs beside the intent.
    pub(in crate::rooms) inputs: Option<NewCallInputs>,
    /// The commitment to the idempotency key of a mutating call.
    pub(in crate::rooms) key: Option<Commitment>,
    /// A part of the keyed hash by which the database knows that key, the same for each repeat.
    pub(in crate::rooms) key_hash: Option<[u8; 8]>,
}

impl Seal {
    /// Ids and commitments, with the inputs beside the record of the call's end.
    pub(super) fn with_inputs(gate: &Gate, passage: &Passage) -> Result<Self, RecordFault> {
        let mut seal = Self::new(gate, passage)?;
        seal.inputs = seal.inputs_of(passage, seal.record)?;
        Ok(seal)
    }

    /// Ids and commitments alone.
    pub(super) fn new(gate: &Gate, passage: &Passage) -> Result<Self, RecordFault> {
        let random = entropy::random::<42>().map_err(RecordFault::Entropy)?;
        let (mut for_id, mut for_salts) = ([0; 10], [0; 32]);
        for (to, from) in for_id.iter_mut().chain(for_salts.iter_mut()).zip(random) {
            *to = from;
        }
        let salts = Salts::from_bytes(for_salts);
        let arguments = passage.canonical.as_ref();
        let payload = arguments.map(|canonical| Payload::of(&salts, Field::Arguments, canonical));
        Ok(Self {
            record: Id::mint(gate.clock.now(), for_id),
            salts,
            arguments: payload,
            inputs: None,
            key: None,
            key_hash: None,
        })
    }

    /// The encrypted inputs, to be kept beside a record.
    pub(super) fn inputs_of(
        &self,
        passage: &Passage,
        record: Id<Record>,
    ) -> Result<Option<NewCallInputs>, RecordFault> {
        passage
            .canonical
            .as_ref()
            .filter(|canonical| {
                passage.tool.is_some() || canonical.as_bytes().len() <= MAX_KEPT_OF_UNKNOWN
            })
            .map(|canonical| encrypt(passage, record, &self.salts, canonical))
            .transpose()
            .map_err(RecordFault::Seal)
    }
}

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
