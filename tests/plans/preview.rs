//! A preview of the shipped restore says what the restore then does.

use serde_json::Value;

use crate::support::recovery::fill_and_save;
use crate::support::{HOSTS, Laptop, Testbed, etcd, words};

#[test]
fn a_restore_does_what_its_preview_said_and_the_preview_changes_nothing() {
    let (bed, laptop) = (Testbed::up(&etcd(), &[]), Laptop::new());
    let saved = fill_and_save(&bed, &laptop);
    let restore = saved.restore(&bed);
    let mut preview = restore.clone();
    preview[0] = "preview".to_owned();
    preview.retain(|word| word != "--yes");

    // While the cluster works, a run would not begin.
    let (data, revision) = bed.data();
    let outcome = laptop.expect(4, &words(&preview));
    outcome.prints("give --revert if that is meant");
    assert_eq!(bed.data(), (data, revision));

    bed.destroy("corrupt");
    let outcome = laptop.expect(0, &[&words(&preview)[..], &["-o", "json"]].concat());
    let foreseen: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(foreseen["would_begin"], true);
    for host in HOSTS {
        let data_dir = bed.path(&format!("{host}/etcd"));
        assert!(outcome.stdout.contains(&format!("\"sets_aside\":\"{data_dir}\"")), "{outcome}");
    }
    let known = laptop.runs().len();
    laptop.expect(0, &words(&restore));
    assert_eq!(laptop.runs().len(), known + 1);
    let shown = laptop.expect(0, &["runs", "show", "-o", "json"]);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let (foreseen, became) = (foreseen["items"].as_array().unwrap(), shown["items"].as_array().unwrap());
    assert_eq!(foreseen.len(), became.len());
    for (foreseen, became) in foreseen.iter().zip(became) {
        let said = foreseen["outlook"].as_str().unwrap();
        let did = became["state"].as_str().unwrap();
        assert!(
            matches!((said, did), ("would-run", "done") | ("skipped", "skipped") | ("unknown", _)),
            "{foreseen}\n{became}"
        );
    }
}
