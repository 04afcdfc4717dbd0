//! What every store must pass. A new store calls [`run`] in a test of its own.

use std::sync::Arc;
use std::thread;

use crate::store::MAX_RECORD;
use crate::{Frame, Store, StoreError};

/// Runs the suite. `place` names a new, empty place; what it returns opens the store there, for the first time and,
/// after the last handle was dropped, again.
///
/// # Panics
/// If the store does not conform; the message says in what.
pub fn run<O: Fn() -> Arc<dyn Store>>(place: impl Fn() -> O) {
    records_come_back_in_order(&place());
    records_of_all_sizes_come_back(&place());
    what_is_no_line_is_refused(&place());
    a_barrier_without_records_is_nothing(&place());
    threads_share_the_order(&place());
    blobs_come_back(&place());
}

fn append(store: &dyn Store, payload: &[u8]) -> u64 {
    store.append(payload).expect("a record is appended")
}

fn read(store: &dyn Store) -> Vec<Frame> {
    store.read().expect("the records are read")
}

fn records_come_back_in_order(open: &impl Fn() -> Arc<dyn Store>) {
    let payload = |seq: u64| format!(r#"{{"seq":{seq},"text":"zwölf"}}"#).into_bytes();
    let expected: Vec<Frame> = (1..=60).map(|seq| Frame { seq, payload: payload(seq) }).collect();
    let mut next = 1;
    for until in [1, 20, 60] {
        let store = open();
        assert_eq!(read(&*store), expected[..next - 1], "what was appended before it was opened again");
        for frame in &expected[next - 1..until] {
            assert_eq!(append(&*store, &frame.payload), frame.seq, "numbers have no gap, from 1, across openings");
        }
        assert_eq!(read(&*store), expected[..until], "records are read before a barrier too");
        store.barrier().expect("a barrier succeeds");
        next = until + 1;
    }
}

fn records_of_all_sizes_come_back(open: &impl Fn() -> Arc<dyn Store>) {
    let sizes = [2, 100, 4095, 4096, 4097, 70_000, 2, 300_000];
    let expected: Vec<Vec<u8>> =
        sizes.iter().map(|size| format!("{{{}}}", "x".repeat(size - 2)).into_bytes()).collect();
    for round in 1..=2 {
        let store = open();
        for payload in &expected {
            append(&*store, payload);
        }
        store.barrier().expect("a barrier succeeds");
        drop(store);
        let payloads = read(&*open()).into_iter().map(|frame| frame.payload);
        assert!(payloads.eq(expected.iter().cycle().take(round * sizes.len()).cloned()), "records of {sizes:?} bytes");
    }
}

fn what_is_no_line_is_refused(open: &impl Fn() -> Arc<dyn Store>) {
    let store = open();
    for payload in [&b""[..], b"{\n}", b"{}\r", b"\0", b"{\xff}", b"a", b"{", b"}"] {
        assert!(matches!(store.append(payload), Err(StoreError::NotALine { .. })), "{payload:?} was accepted");
    }
    let large = vec![b'x'; MAX_RECORD + 1];
    assert!(matches!(store.append(&large), Err(StoreError::TooLarge { .. })), "a record beyond the limit");
    assert_eq!(append(&*store, b"{}"), 1, "a refused record takes no number and stops nothing");
    store.barrier().expect("a barrier succeeds");
}

fn a_barrier_without_records_is_nothing(open: &impl Fn() -> Arc<dyn Store>) {
    for _ in 0..2 {
        let store = open();
        store.barrier().expect("a barrier succeeds");
        assert_eq!(read(&*store), []);
    }
}

fn threads_share_the_order(open: &impl Fn() -> Arc<dyn Store>) {
    const THREADS: usize = 8;
    const EACH: usize = 25;
    let store = open();
    thread::scope(|scope| {
        for name in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for count in 0..EACH {
                    let payload = format!("{{{name}-{count}}}").into_bytes();
                    let seq = append(&**store, &payload);
                    store.barrier().expect("a barrier succeeds");
                    let frame = read(&**store).into_iter().find(|frame| frame.seq == seq);
                    assert_eq!(frame.map(|frame| frame.payload), Some(payload), "the record of the number returned");
                }
            });
        }
    });
    drop(store);
    let frames = read(&*open());
    let numbers: Vec<u64> = frames.iter().map(|frame| frame.seq).collect();
    let all = u64::try_from(THREADS * EACH).expect("a small number");
    assert_eq!(numbers, (1..=all).collect::<Vec<_>>(), "every number once, in order");
    for name in 0..THREADS {
        let prefix = format!("{{{name}-");
        let of_one = frames.iter().filter(|frame| frame.payload.starts_with(prefix.as_bytes()));
        let expected: Vec<_> = (0..EACH).map(|count| format!("{prefix}{count}}}").into_bytes()).collect();
        assert_eq!(of_one.map(|frame| frame.payload.clone()).collect::<Vec<_>>(), expected, "the order of one thread");
    }
}

fn blobs_come_back(open: &impl Fn() -> Arc<dyn Store>) {
    let large: Vec<u8> = (0..=255).cycle().take(1_000_000).collect();
    let store = open();
    let empty = store.put_blob(b"").expect("a blob is stored");
    assert_eq!(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "SHA-256 in hexadecimal");
    let digest = store.put_blob(&large).expect("a blob is stored");
    assert_eq!(store.put_blob(&large).expect("a blob is stored"), digest, "the same content has the same name");
    drop(store);
    let store = open();
    assert_eq!(store.get_blob(&digest).expect("a blob is read"), large);
    assert_eq!(store.get_blob(&empty).expect("a blob is read"), b"");
    assert!(matches!(store.get_blob(&"0".repeat(64)), Err(StoreError::NoSuchBlob { .. })), "an unknown digest");
    assert_eq!(read(&*store), [], "blobs are no records");
}
