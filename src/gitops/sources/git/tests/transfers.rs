//! Transfers that are too much: a server of our own that sends what no repository of manifests has.

use super::*;
use crate::gitops::sources::git::mirror::{Found, Limits, Peer, Refused, update};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use git2::Oid;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Speaks git's own protocol (gitprotocol-pack): one branch, whose pack `send` writes.
struct Server {
    address: SocketAddr,
    /// Packs that were asked for.
    asked: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start(send: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, ends): (Arc<AtomicUsize>, Arc<AtomicBool>) = Default::default();
        let (counter, end) = (asked.clone(), ends.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever has enough hangs up.
                let _ = stream.and_then(|stream| answer(stream, &counter, &send));
            }
        });
        Self { address, asked, ends, thread: Some(thread) }
    }

    fn fetch(&self, limits: Limits, mirror: &Repository, refused: &mut Refused) -> Found {
        let location = GitLocation::new(&format!("git://{}/r", self.address), "", "").unwrap();
        let credentials = Credentials::default();
        let mut peer = Peer::new(&location, &credentials, Duration::from_secs(60));
        peer.limits = limits;
        update(mirror, &[Some("main".to_owned())].into(), &peer, refused).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn answer(
    mut stream: TcpStream,
    asked: &AtomicUsize,
    send: &dyn Fn(&mut TcpStream) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    line(&mut reader)?;
    let head = format!("{COMMIT} refs/heads/main\0agent=test\n");
    write!(stream, "{:04x}{head}0000", head.len() + 4)?;
    let mut wants = false;
    loop {
        match line(&mut reader)?.as_str() {
            "" if !wants => return Ok(()),
            text if text.starts_with("want") => wants = true,
            text if text.starts_with("done") => break,
            _ => {}
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    stream.write_all(b"0008NAK\n")?;
    send(&mut stream)
}

/// A line with its length before it; empty: a pause.
fn line(reader: &mut impl Read) -> std::io::Result<String> {
    let mut length = [0; 4];
    reader.read_exact(&mut length)?;
    let length = usize::from_str_radix(std::str::from_utf8(&length).unwrap(), 16).unwrap();
    let mut text = vec![0; length.saturating_sub(4)];
    reader.read_exact(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn pack(stream: &mut TcpStream, objects: u32) -> std::io::Result<()> {
    stream.write_all(&[b"PACK".as_slice(), &2u32.to_be_bytes(), &objects.to_be_bytes()].concat())
}

/// A blob of 64 KiB that cannot be made smaller.
fn blob(stream: &mut TcpStream, number: u32) -> std::io::Result<()> {
    let mut content = vec![b'x'; 1 << 16];
    content[..4].copy_from_slice(&number.to_be_bytes());
    // Four bits of the size and the type, then seven bits each.
    let mut size = content.len();
    let mut header = vec![((3 << 4) | (size & 15)) as u8];
    size >>= 4;
    while size > 0 {
        *header.last_mut().unwrap() |= 0x80;
        header.push((size & 127) as u8);
        size >>= 7;
    }
    let mut packed = ZlibEncoder::new(header, Compression::none());
    packed.write_all(&content)?;
    stream.write_all(&packed.finish()?)
}

/// The reason, the first time and again without asking for the pack once more.
fn refusal(server: &Server, limits: Limits) -> String {
    let repos = tempfile::tempdir().unwrap();
    let mirror = directories::Directory::take(repos.path(), "a").unwrap().open().unwrap();
    let mut refused = Refused::default();
    let mut look = || {
        let mut found = server.fetch(limits, &mirror, &mut refused);
        found.remove(&Some("main".to_owned())).unwrap().unwrap_err().message().to_owned()
    };
    let first = look();
    let asked = server.asked.load(Ordering::SeqCst);
    assert_eq!(look(), first);
    assert_eq!(server.asked.load(Ordering::SeqCst), asked, "what is too much is not fetched again");
    assert!(refused.contains_key(&Oid::from_str(COMMIT).unwrap()));
    first
}

#[test]
fn more_than_a_million_objects_are_refused_before_they_come() {
    let server = Server::start(|stream| {
        pack(stream, 1_000_001)?;
        (0..).try_for_each(|number| blob(stream, number))
    });
    let expected = "the repository sends 1000001 objects, more than the 1000000 it may";
    assert_eq!(refusal(&server, Limits::default()), expected);
}

#[test]
fn a_transfer_that_goes_on_and_on_is_broken_off() {
    assert_eq!(Limits::default().bytes, 1 << 30);
    let server = Server::start(|stream| {
        pack(stream, 1_000_000)?;
        (0..).try_for_each(|number| blob(stream, number))
    });
    let limits = Limits { bytes: 4 << 20, ..Limits::default() };
    assert_eq!(refusal(&server, limits), "the repository sends more than 4 MiB");
}
