//! A disk of its own, whose power can be cut: ext4 in an image file, mounted through a loop device. Needs root.
//!
//! The cut is ext4's own: the ioctl `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH` (Linux, `fs/ext4/ext4.h`), as
//! the crash tests of xfstests use it. From that moment nothing reaches the image any more, not even what the kernel still
//! has in memory. It is stricter than freezing (`fsfreeze` writes everything out first), and at one moment, which copying a
//! mounted image is not.

// Each test program uses its own part of it.
#![allow(dead_code)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The mounted file system; unmounted and detached when it is dropped.
pub struct Disk {
    image: PathBuf,
    /// How often it was switched on again.
    lives: usize,
    /// The loop device; empty where there is none.
    device: String,
    on: PathBuf,
}

impl Disk {
    /// Makes one of so many MiB below a directory, or says on standard error why that is impossible here.
    pub fn new(dir: &Path, mebibytes: u64) -> Option<Self> {
        let mut disk = Self { image: dir.join("disk.img"), lives: 0, device: String::new(), on: dir.join("disk") };
        File::create(&disk.image).unwrap().set_len(mebibytes << 20).unwrap();
        fs::create_dir(&disk.on).unwrap();
        if !runs(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&disk.image)) || !disk.mount() {
            eprintln!(
                "not run: a file system in an image cannot be made and mounted here; it needs root and loop devices"
            );
            return None;
        }
        Some(disk)
    }

    /// Returns where it is mounted.
    pub fn path(&self) -> &Path {
        &self.on
    }

    /// Cuts the power: from now on nothing is written, and what had not reached the disk is lost. Says on standard error if
    /// this machine cannot do it.
    pub fn cut(&self) -> bool {
        const CUT: &str = r#"open(my $dir, "<", $ARGV[0]) or exit 1; my $no_flush = pack("L", 2);
            exit(defined(ioctl($dir, 0x8004587d, $no_flush)) ? 0 : 1)"#;
        let done = runs(Command::new("perl").args(["-e", CUT]).arg(&self.on));
        if !done {
            eprintln!(
                "not run: the power of a file system cannot be cut here; it needs perl and ext4's shutdown ioctl"
            );
        }
        done
    }

    /// Switches the power on again, with a copy of the image on another device: as long as anybody has the old one mounted,
    /// in a mount namespace of theirs too, the kernel would give the dead file system back.
    pub fn switch_on(&mut self) {
        let dead = self.image.clone();
        self.lives += 1;
        self.image = dead.with_file_name(format!("disk-{}.img", self.lives));
        assert!(runs(Command::new("cp").arg("--sparse=always").args([&dead, &self.image])));
        self.detach();
        fs::remove_file(dead).unwrap();
        assert!(self.mount(), "{} cannot be mounted any more", self.image.display());
    }

    /// Changes how it is mounted, for example to `ro`.
    pub fn remount(&self, how: &str) {
        assert!(runs(Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.on)));
    }

    /// Fills it up and returns the file that takes the space.
    pub fn fill(&self) -> PathBuf {
        let path = self.on.join("filler");
        let mut file = File::create(&path).unwrap();
        // Large pieces first, then to the last block.
        for size in [1 << 20, 4096, 1024] {
            while std::io::Write::write_all(&mut file, &vec![1; size]).and_then(|()| file.sync_all()).is_ok() {}
        }
        path
    }

    fn mount(&mut self) -> bool {
        let attached = Command::new("losetup").args(["--find", "--show"]).arg(&self.image).output();
        let device = attached.map_or_else(|_| String::new(), |output| String::from_utf8(output.stdout).unwrap());
        device.trim().clone_into(&mut self.device);
        !self.device.is_empty() && runs(Command::new("mount").arg(&self.device).arg(&self.on))
    }

    /// Unmounts it and detaches its device; lazily, since a test that failed may have left something open.
    fn detach(&self) {
        runs(Command::new("umount").arg("-l").arg(&self.on));
        if !self.device.is_empty() {
            runs(Command::new("losetup").args(["--detach", &self.device]));
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.detach();
    }
}

fn runs(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
