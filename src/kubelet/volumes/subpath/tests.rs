//! Real directories and links, and one who changes them meanwhile.

#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs::{create_dir, create_dir_all, metadata, read_to_string, write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

/// A volume, and something next to it that is nobody's business.
struct Ground {
    directory: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        create_dir(directory.path().join("volume")).unwrap();
        create_dir(directory.path().join("outside")).unwrap();
        write(directory.path().join("outside/secret"), "secret").unwrap();
        Self { directory }
    }

    fn volume(&self) -> PathBuf {
        self.directory.path().join("volume").canonicalize().unwrap()
    }

    fn outside(&self) -> PathBuf {
        self.directory.path().join("outside")
    }

    fn shelf(&self) -> PathBuf {
        self.directory.path().join("pod/subpaths")
    }

    fn path(&self, sub_path: &str) -> Result<PathBuf, Failed> {
        open(&self.volume(), sub_path)?.path()
    }

    fn assert_untouched(&self) {
        let names: Vec<_> = std::fs::read_dir(self.outside()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Before the directory is removed.
        tear_down(&self.shelf()).unwrap();
    }
}

#[test]
fn links_are_followed_inside_only() {
    let ground = Ground::new();
    let volume = ground.volume();
    create_dir_all(volume.join("real/deep")).unwrap();
    symlink("real", volume.join("relative")).unwrap();
    symlink(volume.join("real"), volume.join("absolute")).unwrap();
    symlink("../deep", volume.join("real/deep/back")).unwrap();
    symlink(ground.outside(), volume.join("away")).unwrap();
    symlink("../outside", volume.join("up")).unwrap();
    symlink("../outside/none", volume.join("dangling")).unwrap();
    symlink("loop", volume.join("loop")).unwrap();
    write(volume.join("file"), "").unwrap();
    for (sub_path, real) in [
        ("real", "real"),
        ("./real//deep/", "real/deep"),
        ("relative/deep/new/newer", "real/deep/new/newer"),
        ("absolute/made", "real/made"),
        ("real/deep/back/back", "real/deep"),
        ("file", "file"),
        (".", ""),
    ] {
        assert_eq!(ground.path(sub_path).unwrap(), volume.join(real).components().collect::<PathBuf>(), "{sub_path}");
        assert!(volume.join(real).exists());
    }
    for sub_path in ["away", "up", "away/secret", "loop", "file/under", "loop/x"] {
        let failed = ground.path(sub_path).unwrap_err();
        assert_eq!(failed.to_string(), "failed to prepare subPath", "{sub_path}");
    }
    for sub_path in ["away/made", "up/made/deeper", "dangling", "dangling/x"] {
        let failed = ground.path(sub_path).unwrap_err();
        assert_eq!(failed.to_string(), "failed to create subPath directory", "{sub_path}");
    }
    ground.assert_untouched();
}

#[test]
fn what_is_made_has_the_mode_of_the_volume() {
    let ground = Ground::new();
    let volume = ground.volume();
    std::fs::set_permissions(&volume, std::fs::Permissions::from_mode(0o2777)).unwrap();
    ground.path("a/b").unwrap();
    for made in ["a", "a/b"] {
        assert_eq!(metadata(volume.join(made)).unwrap().mode() & 0o7777, 0o2777, "{made}");
    }
}

#[test]
fn what_is_bound_stays_what_it_was() {
    let ground = Ground::new();
    let (volume, shelf) = (ground.volume(), ground.shelf());
    create_dir(volume.join("d")).unwrap();
    write(volume.join("d/file"), "mine").unwrap();
    let directory = open(&volume, "d").unwrap();
    let file = open(&volume, "d/file").unwrap();
    std::fs::rename(volume.join("d"), volume.join("moved")).unwrap();
    symlink(ground.outside(), volume.join("d")).unwrap();
    let Some(place) = directory.bind(&shelf, "v/c/0").unwrap() else {
        // Who may not mount is told that things have moved.
        return assert!(directory.path().is_err());
    };
    assert_eq!(read_to_string(place.join("file")).unwrap(), "mine");
    let single = file.bind(&shelf, "v/c/1").unwrap().unwrap();
    assert_eq!(read_to_string(&single).unwrap(), "mine");
    // The container's next life: another thing at the same place.
    assert_eq!(open(&volume, "moved/file").unwrap().bind(&shelf, "v/c/0").unwrap().unwrap(), place);
    assert_eq!(read_to_string(&place).unwrap(), "mine");
    tear_down(&shelf).unwrap();
    assert_eq!(std::fs::read_dir(&shelf).unwrap().count(), 0);
    std::fs::remove_dir_all(&shelf).unwrap();
    assert_eq!(read_to_string(volume.join("moved/file")).unwrap(), "mine", "the volume is as it was");
    tear_down(&shelf).unwrap();
}

#[test]
fn containers_that_start_together_share_the_shelf() {
    let ground = Ground::new();
    let (volume, shelf) = (ground.volume(), ground.shelf());
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let (volume, shelf) = (&volume, &shelf);
            scope.spawn(move || {
                let part = open(volume, &format!("common/{name}")).unwrap();
                part.bind(shelf, &format!("v/{name}/0")).unwrap();
            });
        }
    });
    if memory::is_mounted(&shelf) {
        let inode = |path: PathBuf| metadata(path).unwrap().ino();
        for name in ["a", "b", "c", "d"] {
            let (bound, real) = (shelf.join(format!("v/{name}/0")), volume.join("common").join(name));
            assert_eq!(inode(bound), inode(real));
        }
    }
}

/// A container that turns a directory into a link to the outside and back, all the time.
#[test]
fn whoever_swaps_meanwhile_gains_nothing() {
    let ground = Ground::new();
    let (volume, shelf) = (ground.volume(), ground.shelf());
    create_dir(volume.join("swap")).unwrap();
    symlink(ground.outside(), volume.join("link")).unwrap();
    let over = AtomicBool::new(false);
    let mut had = BTreeSet::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                fs::renameat_with(CWD, volume.join("swap"), CWD, volume.join("link"), flags).unwrap();
            }
        });
        for round in 0..2_000 {
            let sub_path = if round % 2 == 0 { "swap".to_owned() } else { format!("swap/made{}", round % 7) };
            match open(&volume, &sub_path) {
                Ok(part) => {
                    if let Some(place) = part.bind(&shelf, "v/c/0").unwrap_or_default() {
                        assert!(!place.join("secret").exists());
                    }
                    had.insert("in");
                }
                Err(_) => _ = had.insert("refused"),
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(had.len(), 2, "both happened");
    ground.assert_untouched();
}

/// Directories, files and links in a volume, and a path into it.
fn entries() -> impl Strategy<Value = (Vec<(String, u8, String)>, String)> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let path = move || prop::collection::vec(name(), 1..4).prop_map(|names| names.join("/"));
    let target = prop_oneof![
        path(),
        path().prop_map(|path| format!("../{path}")),
        path().prop_map(|path| format!("../../{path}")),
        path().prop_map(|path| format!("VOLUME/{path}")),
        Just("OUTSIDE".to_owned()),
        Just("OUTSIDE/secret".to_owned()),
        Just("../outside".to_owned()),
        Just("..".to_owned()),
        Just("/".to_owned()),
    ];
    (prop::collection::vec((path(), 0..4_u8, target), 0..10), path())
}

proptest! {
    #[test]
    fn nothing_leads_out((entries, sub_path) in entries()) {
        let ground = Ground::new();
        let volume = ground.volume();
        let text = |path: &Path| path.to_string_lossy().into_owned();
        for (path, kind, target) in &entries {
            let path = volume.join(path);
            // Only what the container itself could make: under directories that really are in the volume.
            let above = path.parent().unwrap();
            let real = above.ancestors().find_map(|above| above.canonicalize().ok()).unwrap();
            if !real.starts_with(&volume) || create_dir_all(above).is_err() {
                continue;
            }
            let target = target.replace("VOLUME", &text(&volume)).replace("OUTSIDE", &text(&ground.outside()));
            match kind {
                0 => _ = create_dir(&path),
                1 if std::fs::symlink_metadata(&path).is_err() => write(&path, "").unwrap(),
                1 => {}
                _ => _ = symlink(target, &path),
            }
        }
        let before = volume.join(&sub_path).canonicalize();
        match (ground.path(&sub_path), before) {
            (Ok(found), Ok(before)) => prop_assert_eq!(found, before),
            (Ok(found), Err(_)) => {
                prop_assert!(found.starts_with(&volume) && found.is_dir());
                prop_assert_eq!(&found.canonicalize().unwrap(), &found);
            }
            (Err(_), Ok(before)) => prop_assert!(!before.starts_with(&volume)),
            (Err(_), Err(_)) => {}
        }
        ground.assert_untouched();
        let beside = std::fs::read_dir(ground.directory.path()).unwrap().count();
        prop_assert_eq!(beside, 2, "nothing is made next to the volume either");
    }
}
