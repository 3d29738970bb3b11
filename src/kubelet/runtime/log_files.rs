//! A container's log on this machine: the file that is written to, and what was written before it, in files beside it:
//! `PATH.1`, `PATH.2` and so on, the newest with the highest number. Clocks go back; numbers do not.
//!
//! conmon begins a log anew at a limit of its own and drops what it had written. So the file that it writes to has its
//! number beforehand, as a second name: whoever begins the log anew, and however, the lines stay.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a container may leave in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes in a file after which another one is begun.
    pub size: u64,
    /// How many files there are, the one that is written to among them; those beyond, the oldest, are removed.
    pub files: usize,
}

/// What stat counts in.
const BLOCK: u64 = 512;
/// Whoever rotates faster than files are opened does so on purpose.
const ATTEMPTS: u32 = 16;

/// One file of a log, open: it can be read to its end even if it is removed meanwhile.
#[derive(Debug)]
pub struct LogFile {
    /// None while the file that is written to has no number yet.
    pub number: Option<u64>,
    pub inode: u64,
    /// When it was opened.
    pub length: u64,
    pub modified: Option<SystemTime>,
    pub file: File,
}

impl LogFile {
    fn open(path: &Path, number: Option<u64>) -> io::Result<Self> {
        let file = File::open(path)?;
        let found = file.metadata()?;
        Ok(Self { number, inode: found.ino(), length: found.len(), modified: found.modified().ok(), file })
    }
}

/// The numbered files of a log, oldest first.
fn numbered(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let number = |file: &str| file.strip_prefix(name)?.strip_prefix('.')?.parse().ok();
        found.extend(entry.file_name().to_str().and_then(number).map(|number| (number, entry.path())));
    }
    found.sort_unstable();
    Ok(found)
}

fn name(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// All files of the log, oldest first, each once. The last one is that which is written to.
pub fn open_all(path: &Path) -> io::Result<Vec<LogFile>> {
    for _ in 0..ATTEMPTS {
        let mut current = LogFile::open(path, None)?;
        let mut files = Vec::new();
        for (number, path) in numbered(path)? {
            match LogFile::open(&path, Some(number)) {
                Ok(file) if file.inode == current.inode => current.number = Some(number),
                Ok(file) => files.push(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        // If another file was begun meanwhile, one in between may have been overlooked.
        if fs::metadata(path)?.ino() == current.inode {
            files.push(current);
            return Ok(files);
        }
    }
    Err(io::Error::other("it is begun anew again and again"))
}

/// Gives the file that is written to a number, if it has none, and removes the oldest files beyond `files`.
/// Returns what that file is.
pub fn keep(path: &Path, files: usize) -> io::Result<Metadata> {
    for _ in 0..ATTEMPTS {
        let present = numbered(path)?;
        let newest = present.last();
        let current = fs::metadata(path)?;
        let has_number = match newest {
            Some((_, file)) => fs::metadata(file).is_ok_and(|file| file.ino() == current.ino()),
            None => false,
        };
        if !has_number {
            // Whatever has that name by then.
            fs::hard_link(path, name(path, newest.map_or(1, |(number, _)| number + 1)))?;
            continue;
        }
        for (_, old) in &present[..present.len().saturating_sub(files.max(1))] {
            match fs::remove_file(old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        return Ok(current);
    }
    Err(io::Error::other("it is begun anew again and again"))
}

/// Bytes on disk of all files of the log; none where it is gone.
pub fn space(path: &Path) -> u64 {
    let mut inodes = Vec::new();
    let older = numbered(path).unwrap_or_default().into_iter().map(|(_, path)| path);
    let mut total = 0;
    for file in older.chain([path.to_owned()]).filter_map(|path| fs::metadata(path).ok()) {
        if !inodes.contains(&file.ino()) {
            inodes.push(file.ino());
            total += file.blocks() * BLOCK;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Read;

    fn texts(path: &Path) -> Vec<String> {
        let text = |mut file: LogFile| {
            let mut text = String::new();
            file.file.read_to_string(&mut text).unwrap();
            text
        };
        open_all(path).unwrap().into_iter().map(text).collect()
    }

    /// What conmon does at its limit.
    fn begin_anew(path: &Path, text: &str) {
        fs::write(path.with_extension("tmp"), text).unwrap();
        fs::rename(path.with_extension("tmp"), path).unwrap();
    }

    #[test]
    fn lines_stay_when_the_log_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ctr.log");
        fs::write(directory.path().join("ctr.log.old"), "no number").unwrap();
        fs::write(&path, "0").unwrap();
        assert_eq!(texts(&path), ["0"]);
        for round in 1..12 {
            let kept = keep(&path, 5).unwrap();
            assert_eq!(keep(&path, 5).unwrap().ino(), kept.ino(), "nothing to do");
            begin_anew(&path, &round.to_string());
            let oldest = (round + 1_i32).saturating_sub(6).max(0);
            let expected: Vec<String> = (oldest..=round).map(|text| text.to_string()).collect();
            assert_eq!(texts(&path), expected, "before anybody looked");
        }
        keep(&path, 5).unwrap();
        assert_eq!(texts(&path), ["7", "8", "9", "10", "11"]);
        keep(&path, 1).unwrap();
        assert_eq!(texts(&path), ["11"]);
    }

    #[test]
    fn all_files_take_room_each_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ctr.log");
        assert_eq!(space(&path), 0);
        fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        let one = space(&path);
        assert!(one >= 1 << 20);
        keep(&path, 5).unwrap();
        assert_eq!(space(&path), one);
        begin_anew(&path, &"y".repeat(1 << 20));
        assert_eq!(space(&path), 2 * one);
    }
}
