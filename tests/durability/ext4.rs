//! A small disk of our own, which can be filled, and whose power can be cut.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// An ext4 file system in a file. Needs root and loop devices.
pub(crate) struct Ext4 {
    image: PathBuf,
    mounted_at: PathBuf,
    /// Deleted last.
    _dir: TempDir,
}

impl Ext4 {
    /// None, after saying why, if this machine can't make one.
    pub(crate) fn new(bytes: u64) -> Option<Self> {
        let dir = TempDir::new().expect("a directory");
        let disk = Self { image: dir.path().join("image"), mounted_at: dir.path().join("mounted"), _dir: dir };
        fs::create_dir(&disk.mounted_at).expect("a directory");
        File::create(&disk.image).and_then(|file| file.set_len(bytes)).expect("a sparse file");
        let made = run("mkfs.ext4", &["-q", "-F", text(&disk.image)])
            .and_then(|()| disk.mount())
            .and_then(|()| run("perl", &["-e", "1"]));
        match made {
            Ok(()) => Some(disk),
            Err(reason) => {
                // Not `eprintln`, which the test harness would keep to itself.
                let _ = writeln!(std::io::stderr(), "skipped, as there is no disk whose power could be cut: {reason}");
                None
            }
        }
    }

    /// Where files go.
    pub(crate) fn path(&self) -> &Path {
        &self.mounted_at
    }

    /// Takes up all free space.
    pub(crate) fn fill(&self) {
        self.fill_but(0);
    }

    /// Takes up all free space but so many bytes.
    pub(crate) fn fill_but(&self, bytes: u64) {
        let mut filler = File::create(self.mounted_at.join("filler")).expect("a file");
        for chunk in [1 << 16, 1 << 10, 1] {
            while filler.write_all(&vec![1; chunk]).is_ok() {}
        }
        let filled = filler.metadata().expect("it is open").len();
        filler.set_len(filled - bytes).expect("cut");
        // Space that is only reserved until now.
        let _ = filler.sync_all();
    }

    /// Undoes [`Self::fill`] and [`Self::fill_but`].
    pub(crate) fn free(&self) {
        fs::remove_file(self.mounted_at.join("filler")).expect("it was filled");
    }

    /// Gets ready to cut the power, so that the cut itself comes at once.
    pub(crate) fn cutter(&self) -> Cutter {
        // EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH, from the kernel's fs/ext4/ext4.h: neither data nor what
        // the journal holds in memory reaches the disk any more. From Rust, an ioctl would be unsafe.
        let shutdown = r#"
            open(my $dir, "<", $ARGV[0]) or die $!;
            my $flags = pack("L", 2);
            $| = 1;
            print "ready\n";
            <STDIN>;
            ioctl($dir, 0x8004587d, $flags) or die $!;
        "#;
        let mut perl = Command::new("perl")
            .args(["-e", shutdown, text(self.path())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("perl was there before");
        let mut ready = [0; 6];
        perl.stdout.take().expect("piped").read_exact(&mut ready).expect("it opens the directory");
        Cutter { perl }
    }

    /// Mounts the disk as the power cut has left it. Everyone who used it must be gone.
    pub(crate) fn restart(&self) {
        run("umount", &[text(self.path())]).and_then(|()| self.mount()).expect("mounts again");
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-o", "loop", text(&self.image), text(&self.mounted_at)])
    }
}

/// Cuts the power of a disk.
pub(crate) struct Cutter {
    perl: Child,
}

impl Cutter {
    pub(crate) fn cut_power(mut self) {
        drop(self.perl.stdin.take());
        assert!(self.perl.wait().expect("it ends").success(), "ext4 can be shut down");
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", text(&self.mounted_at)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the temporary directory is UTF-8")
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let reason = || format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    if output.status.success() { Ok(()) } else { Err(reason()) }
}
