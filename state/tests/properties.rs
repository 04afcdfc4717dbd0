//! Whatever the order of appends, barriers and openings: what was appended is there, in order, once.
#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;
use requorum_state::{MemoryStore, SledStore, Store, witness};

#[derive(Debug, Clone)]
enum Step {
    Append(String),
    Barrier,
    Reopen,
    Blob(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => "[ -~äöü]{1,80}".prop_map(Step::Append),
        1 => (4000_usize..9000).prop_map(|size| Step::Append("x".repeat(size))),
        3 => Just(Step::Barrier),
        1 => Just(Step::Reopen),
        1 => vec(any::<u8>(), 0..2000).prop_map(Step::Blob),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_on_disk_behaves_as_the_one_in_memory(steps in vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let model = MemoryStore::default();
        let mut store = SledStore::create(&run).unwrap();
        let mut blobs = Vec::new();
        for step in steps {
            match step {
                Step::Append(payload) => {
                    let payload = payload.as_bytes();
                    prop_assert_eq!(store.append(payload).unwrap(), model.append(payload).unwrap());
                }
                Step::Barrier => {
                    store.barrier().unwrap();
                    let lines = witness::read_lines(&run.join("events.jsonl")).unwrap();
                    prop_assert_eq!(lines.len(), model.read().unwrap().len());
                }
                Step::Reopen => {
                    drop(store);
                    store = SledStore::open(&run).unwrap();
                }
                Step::Blob(bytes) => {
                    let digest = store.put_blob(&bytes).unwrap();
                    prop_assert_eq!(&digest, &model.put_blob(&bytes).unwrap());
                    blobs.push(digest);
                }
            }
            prop_assert_eq!(store.read().unwrap(), model.read().unwrap());
        }
        for digest in blobs {
            prop_assert_eq!(store.get_blob(&digest).unwrap(), model.get_blob(&digest).unwrap());
        }
    }
}
