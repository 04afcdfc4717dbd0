//! A power loss takes no record that was acknowledged.
//!
//! It is emulated: the run lies on a file system in an image file; a copy of the image, taken while it is mounted, holds
//! what had reached the device at that moment and nothing that was still in memory. Needs root and loop devices.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use requorum_state::{SledStore, Store};

fn runs(command: &str, arguments: &[&Path]) -> bool {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

/// A mounted image, unmounted when it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn image(image: &Path, on: &Path) -> Option<Self> {
        std::fs::create_dir(on).unwrap();
        runs("mount -o loop", &[image, on]).then(|| Self(on.to_path_buf()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        runs("umount", &[&self.0]);
    }
}

fn payload(number: u64) -> String {
    // Every ninth goes into a blob.
    let fill = if number.is_multiple_of(9) { 5000 } else { 300 };
    format!(r#"{{"number":{number},"fill":"{}"}}"#, "x".repeat(fill))
}

#[test]
fn a_power_loss_takes_no_acknowledged_record() {
    const ROUNDS: u64 = 6;
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let made = runs("mkfs.ext4 -q -F", &[&image]);
    let Some(disk) = made.then(|| Mounted::image(&image, &dir.path().join("disk"))).flatten() else {
        eprintln!("not run: an image can not be made and mounted here");
        return;
    };
    let store = SledStore::create(&disk.0.join("state/run")).unwrap();
    let mut acknowledged = 0;
    for round in 1..=ROUNDS {
        for _ in 0..round * round * 5 {
            store.append(payload(acknowledged + 1).as_bytes()).unwrap();
            store.barrier().unwrap();
            acknowledged += 1;
        }
        let copy = dir.path().join(format!("copy-{round}"));
        assert!(runs("cp --sparse=always", &[&image, &copy]));
        let survived = Mounted::image(&copy, &dir.path().join(format!("survived-{round}"))).unwrap();
        let records = SledStore::open(&survived.0.join("state/run")).unwrap().read().unwrap();
        assert_eq!(records.len() as u64, acknowledged, "in round {round}");
        for (number, frame) in (1..).zip(records) {
            assert_eq!(frame.payload, payload(number).as_bytes());
        }
    }
}
