//! Kustomizations render to the bytes that `kubectl kustomize` prints, and what it refuses is refused with
//! file and line. The real program is asked, at the time of the test.
//!
//! A case is a text file: lines `=== PATH` begin the files of a tree, whose first is the kustomization. What is no
//! text is in base64 behind `=== PATH base64`.

#![allow(clippy::unwrap_used)]
use base64::Engine;
use selkie::api::registry::Registry;
use selkie::gitops::render::kustomize::{Known, build};
use selkie::gitops::render::print;
use selkie::gitops::sources::disk::Disk;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Case {
    name: String,
    /// The first line: what the case shows, or what the refusal says.
    about: String,
    directory: PathBuf,
    _temp: tempfile::TempDir,
}

fn unpack(file: &Path) -> Case {
    let text = fs::read_to_string(file).unwrap();
    let mut parts = text.split("=== ");
    let about = parts.next().unwrap().trim_start_matches("# ").trim().to_owned();
    let temp = tempfile::tempdir().unwrap();
    let mut directory = None;
    for part in parts {
        let (path, body) = part.split_once('\n').unwrap();
        let (path, body) = match path.strip_suffix(" base64") {
            Some(path) => (path, base64::engine::general_purpose::STANDARD.decode(body.trim()).unwrap()),
            None => (path, body.as_bytes().to_vec()),
        };
        let path = temp.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, body).unwrap();
        directory.get_or_insert(path.parent().unwrap().to_path_buf());
    }
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    Case { name, about, directory: directory.unwrap(), _temp: temp }
}

fn cases(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kustomize").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn kubectl(directory: &Path) -> Result<String, String> {
    let output = Command::new("kubectl").arg("kustomize").arg(directory).output().expect("kubectl is installed");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn selkie(directory: &Path, registry: &Registry) -> Result<String, String> {
    let (tree, inside) = Disk::around(directory).unwrap();
    let built = build(&tree, &inside, &Known(registry)).map_err(|error| error.to_string())?;
    Ok(print::documents(built.objects.iter().map(|object| &object.value)))
}

/// Runs all cases, a few at a time: most of the time goes into starting kubectl.
fn check_all(folder: &str, least: usize, check: impl Fn(&Case, &Registry) -> Result<(), String> + Sync) {
    let files = cases(folder);
    assert!(files.len() >= least, "only {} cases in {folder}", files.len());
    let (registry, next, wrong) = (Registry::builtin(), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let case = unpack(file);
                    if let Err(why) = check(&case, &registry) {
                        wrong.lock().unwrap().push(format!("{}: {why}", case.name));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn renders_the_bytes_that_kubectl_prints() {
    check_all("cases", 60, |case, registry| {
        let expected = kubectl(&case.directory).map_err(|error| format!("kubectl refuses it: {error}"))?;
        let found = selkie(&case.directory, registry)?;
        if expected == found {
            return Ok(());
        }
        let lines = expected.lines().zip(found.lines()).enumerate();
        let first = lines.into_iter().find(|(_, (expected, found))| expected != found);
        Err(format!("{}: differs from kubectl at line {first:?}\n{found}", case.about))
    });
}

#[test]
fn refuses_what_kubectl_refuses_and_says_where() {
    check_all("refused", 35, |case, registry| {
        if let Ok(printed) = kubectl(&case.directory) {
            return Err(format!("kubectl takes it: {printed}"));
        }
        match selkie(&case.directory, registry) {
            Ok(printed) => Err(format!("not refused: {printed}")),
            Err(error) if error.contains(&case.about) => Ok(()),
            Err(error) => Err(format!("expected {:?}, found {error}", case.about)),
        }
    });
}
