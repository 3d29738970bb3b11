//! Archives that mean harm, and those that do not.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::gitops::render::kustomize::NoRoots;
use crate::gitops::sources::git::{Teller, read_tree};
use crate::gitops::sources::{Snapshot, SourceError};
use std::fs;
use std::os::unix::fs::symlink;

/// One entry as it is, whatever is wrong with it.
struct Raw<'a> {
    path: &'a [u8],
    kind: EntryType,
    link: &'a [u8],
    content: &'a [u8],
}

const PLAIN: Raw<'static> = Raw { path: b"a.yaml", kind: EntryType::Regular, link: b"", content: b"a: 1" };

fn layer(entries: &[Raw<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for Raw { path, kind, link, content } in entries {
        let mut header = Header::new_gnu();
        // Past the checks that are there for those who mean well.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path);
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    compressed(&tar.into_inner().unwrap())
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn read(layer: &[u8]) -> Result<Snapshot, String> {
    let unpacked = unpack(layer).map_err(|failure| failure.what)?;
    let teller = Teller {
        roots: &NoRoots,
        called: "artifact 1".into(),
        origin: "x".into(),
        broken: Box::new(|error| SourceError::Access(error.message().to_owned())),
        refuse: Box::new(|what, _: &str| SourceError::Access(what)),
    };
    read_tree(&unpacked.repository, unpacked.tree, "", &teller).map_err(|error| error.to_string())
}

#[test]
fn names_that_lead_out_and_things_that_are_no_files_are_refused() {
    let long = b"d/".repeat(45);
    for (raw, part) in [
        (Raw { path: b"/etc/a.yaml", ..PLAIN }, "/etc/a.yaml is an absolute path"),
        (Raw { path: b"x/../../a.yaml", ..PLAIN }, "leads out of the artifact"),
        (Raw { path: b"..", ..PLAIN }, "leads out of the artifact"),
        (Raw { kind: EntryType::Link, link: b"/etc/passwd", content: b"", ..PLAIN }, "neither a file"),
        (Raw { kind: EntryType::Fifo, content: b"", ..PLAIN }, "neither a file"),
        (Raw { kind: EntryType::Char, content: b"", ..PLAIN }, "neither a file"),
    ] {
        let error = read(&layer(&[PLAIN, raw])).unwrap_err();
        assert!(error.contains(part), "{part}: {error}");
    }
    // Deep, but not too deep; what is deeper cannot be said in a plain header.
    let deep = [&long[..], b"a.yaml"].concat();
    assert_eq!(read(&layer(&[Raw { path: &deep, ..PLAIN }])).unwrap().files.len(), 1);
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(0);
    tar.append_data(&mut header, "d/".repeat(200) + "a.yaml", &b""[..]).unwrap();
    let error = read(&compressed(&tar.into_inner().unwrap())).unwrap_err();
    assert!(error.contains("nested more than 100 deep"), "{error}");
}

#[test]
fn links_and_names_are_judged_as_in_a_commit() {
    let link = |path: &'static [u8], link: &'static [u8]| Raw { path, link, kind: EntryType::Symlink, content: b"" };
    let snapshot = read(&layer(&[
        PLAIN,
        link(b"near.yaml", b"a.yaml"),
        link(b"up.yaml", b"../../etc/passwd"),
        link(b"root.yaml", b"/etc/passwd"),
        Raw { path: b"bad\x1b.yaml", ..PLAIN },
        Raw { path: b".git/config.yaml", ..PLAIN },
        Raw { path: b"./sub//b.yaml", ..PLAIN },
    ]))
    .unwrap();
    let paths: Vec<_> = snapshot.files.iter().map(|file| &*file.path).collect();
    assert_eq!(paths, ["a.yaml", "near.yaml", "sub/b.yaml"]);
    let rejected: Vec<_> = snapshot.rejected.iter().map(ToString::to_string).collect();
    for part in ["up.yaml", "root.yaml", "control characters"] {
        assert!(rejected.iter().any(|error| error.contains(part)), "{part}: {rejected:?}");
    }
}

#[test]
fn bombs_and_nonsense_are_refused_before_they_take_memory() {
    let zeros = vec![0u8; 1 << 20];
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    let mut header = Header::new_gnu();
    header.set_path("a.yaml").unwrap();
    header.set_size(1 << 40);
    header.set_cksum();
    bomb.write_all(header.as_bytes()).unwrap();
    for _ in 0..(MAX_UNPACKED >> 20) + 1 {
        bomb.write_all(&zeros).unwrap();
    }
    let error = read(&bomb.finish().unwrap()).unwrap_err();
    assert!(error.contains("more than 128.0 MiB together"), "{error}");
    assert!(read(b"not gzip").is_err_and(|error| error.contains("no compressed tar")));
    assert!(read(&compressed(&[7; 4096])).is_err_and(|error| error.contains("no compressed tar")));
    let whole = layer(&[PLAIN]);
    assert!(read(&whole[..whole.len() / 2]).is_err_and(|error| error.contains("no compressed tar")));
}

#[test]
fn a_kustomization_in_an_artifact_is_one() {
    let files = [
        ("base/c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n"),
        ("base/kustomization.yaml", "resources: [c.yaml]\n"),
        ("kustomization.yaml", "resources: [base]\nnamePrefix: prod-\n"),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).into();
    let snapshot = read(&pack(&files).unwrap().0).unwrap();
    let rendered = crate::gitops::render::unscoped(&snapshot, &crate::api::registry::Registry::builtin(), None);
    assert_eq!(rendered.objects.iter().map(|object| object.id.name.as_str()).collect::<Vec<_>>(), ["prod-one"]);
}

#[test]
fn a_directory_is_gathered_whole_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("app");
    fs::create_dir_all(root.join("sub/.git")).unwrap();
    for name in ["a.yaml", "sub/.env", "sub/.git/config"] {
        fs::write(root.join(name), name).unwrap();
    }
    symlink("a.yaml", root.join("near.yaml")).unwrap();
    let files = gather(&root).unwrap();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["a.yaml", "near.yaml", "sub/.env"]);
    assert_eq!(files["near.yaml"], b"a.yaml");
    assert_eq!(pack(&files).unwrap(), pack(&gather(&root).unwrap()).unwrap());
    assert_eq!(gather(&root.join("a.yaml")).unwrap().len(), 1);

    fs::write(temp.path().join("secret"), "x").unwrap();
    for (target, name) in [("../secret", "out.yaml"), ("sub", "folder")] {
        symlink(target, root.join(name)).unwrap();
        assert!(gather(&root).is_err_and(|error| error.contains(name)), "{name}");
        fs::remove_file(root.join(name)).unwrap();
    }
    fs::write(root.join("large.yaml"), vec![b'x'; (3 << 20) + 1]).unwrap();
    assert!(gather(&root).is_err_and(|error| error.contains("large.yaml")));
    assert!(gather(&temp.path().join("none")).is_err());
}
