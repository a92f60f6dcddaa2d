//! The queue's bounds and its turns.

use portcullis_domain::TraceId;
use portcullis_domain::id::Id;
use time::OffsetDateTime;

use super::*;
use crate::records::RecordRow;

fn tenant(seed: u8) -> Id<Tenant> {
    Id::mint(OffsetDateTime::UNIX_EPOCH, [seed; 10])
}

fn pending(of: Id<Tenant>, canonical: usize) -> Pending {
    let record = RecordRow {
        id: Id::mint(OffsetDateTime::UNIX_EPOCH, [0; 10]),
        kind: "call".to_owned(),
        trace_id: TraceId::from_bytes([1; 16]),
        intent: None,
        principal: None,
        tool: None,
        verdict: "allow".to_owned(),
        started_at: OffsetDateTime::UNIX_EPOCH,
        ended_at: OffsetDateTime::UNIX_EPOCH,
        canonical: vec![0; canonical],
        leaf_hash: [0; 32],
        signature: vec![0; 64],
        key_id: "k".to_owned(),
    };
    let (reply, _answer) = oneshot::channel();
    Pending {
        record: NewRecord {
            tenant: of,
            record,
            inputs: None,
        },
        reply,
    }
}

fn queue(change: impl FnOnce(&mut WriterOptions)) -> Queue {
    let mut options = WriterOptions::default();
    change(&mut options);
    Queue::new(options)
}

#[test]
fn a_flood_of_one_tenant_leaves_the_others_their_turn() {
    let mut queue = queue(|options| options.batch_rows = 4);
    for _ in 0..100 {
        queue.push(pending(tenant(1), 0)).unwrap();
    }
    queue.push(pending(tenant(2), 0)).unwrap();
    let (batch, more, _) = queue.take();
    let of: Vec<_> = batch.iter().map(|p| p.record.tenant).collect();
    assert_eq!(of, [tenant(1), tenant(2), tenant(1), tenant(1)]);
    assert!(more);
}

#[test]
fn a_tenant_cannot_fill_the_queue_of_the_others() {
    let mut queue = queue(|options| options.queue_rows_per_tenant = 2);
    queue.push(pending(tenant(1), 0)).unwrap();
    queue.push(pending(tenant(1), 0)).unwrap();
    assert!(matches!(
        queue.push(pending(tenant(1), 0)),
        Err(RecordError::Busy)
    ));
    queue.push(pending(tenant(2), 0)).unwrap();
}

#[test]
fn a_tenants_large_records_leave_the_others_room() {
    let mut queue = queue(|options| options.queue_bytes = 16_000);
    queue.push(pending(tenant(1), 1_000)).unwrap();
    queue.push(pending(tenant(1), 1_000)).unwrap();
    assert!(matches!(
        queue.push(pending(tenant(1), 1_000)),
        Err(RecordError::Busy)
    ));
    // One that is larger than the share still goes alone.
    queue.push(pending(tenant(2), 8_000)).unwrap();
    queue.take();
    queue.push(pending(tenant(1), 1_000)).unwrap();
    queue.push(pending(tenant(1), 1_000)).unwrap();
}

#[test]
fn rows_and_bytes_in_all_are_bounded() {
    let mut rows = queue(|options| options.queue_rows = 1);
    rows.push(pending(tenant(1), 0)).unwrap();
    assert!(matches!(
        rows.push(pending(tenant(2), 0)),
        Err(RecordError::Busy)
    ));
    let mut bytes = queue(|options| options.queue_bytes = 2_000);
    bytes.push(pending(tenant(1), 1_000)).unwrap();
    assert!(matches!(
        bytes.push(pending(tenant(2), 1_000)),
        Err(RecordError::Busy)
    ));
    bytes.take();
    bytes.push(pending(tenant(2), 1_000)).unwrap();
}

#[test]
fn a_batch_stops_at_its_bytes_but_never_at_nothing() {
    let mut queue = queue(|options| options.batch_bytes = 2_000);
    queue.push(pending(tenant(1), 9_000)).unwrap();
    queue.push(pending(tenant(1), 1_000)).unwrap();
    queue.push(pending(tenant(1), 1_000)).unwrap();
    let sizes: Vec<usize> = std::iter::from_fn(|| Some(queue.take().0.len()))
        .take(4)
        .collect();
    assert_eq!(sizes, [1, 1, 1, 0]);
}

#[test]
fn a_closed_queue_gives_what_it_has_and_takes_no_more() {
    let mut queue = queue(|_| ());
    queue.push(pending(tenant(1), 0)).unwrap();
    queue.close();
    assert!(matches!(
        queue.push(pending(tenant(1), 0)),
        Err(RecordError::Stopping)
    ));
    let (batch, more, closed) = queue.take();
    assert_eq!((batch.len(), more, closed), (1, false, true));
    assert!(queue.tenants.is_empty() && queue.turns.is_empty() && queue.bytes == 0);
}
