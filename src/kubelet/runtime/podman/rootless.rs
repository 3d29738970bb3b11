//! Whether an ordinary user's Podman can give pods a network on this machine, and what to do if not.

use std::path::{Path, PathBuf};

const TUN: &str = "/dev/net/tun";

/// What rootless networking needs.
#[derive(Clone, Debug, Default)]
struct Machine {
    root: bool,
    /// slirp4netns or pasta, which carry the packets.
    carrier: bool,
    /// newuidmap, which makes the user's namespace.
    mapper: bool,
    /// Why the device cannot be opened.
    tun: Option<String>,
}

/// Why pods of this user would get no network, and what to do about it; `None` where they get one.
pub fn network_obstacle() -> Option<String> {
    Machine::observe().obstacle()
}

impl Machine {
    fn observe() -> Self {
        let tun = std::fs::OpenOptions::new().read(true).write(true).open(TUN);
        Self {
            root: rustix::process::getuid().is_root(),
            carrier: installed("slirp4netns") || installed("pasta"),
            mapper: installed("newuidmap"),
            tun: tun.err().map(|error| error.to_string()),
        }
    }

    fn obstacle(&self) -> Option<String> {
        if self.root {
            return None;
        }
        if !self.mapper {
            return Some("rootless Podman needs newuidmap; as root: apt-get install uidmap".into());
        }
        let what = match (&self.tun, self.carrier) {
            (Some(why), _) => format!("{TUN} cannot be opened ({why}); as root: modprobe tun; chmod 666 {TUN}"),
            (None, false) => "neither slirp4netns nor pasta is there; as root: apt-get install slirp4netns".into(),
            (None, true) => return None,
        };
        Some(format!("rootless Podman cannot give pods a network, only pods with hostNetwork: true will run: {what}"))
    }
}

/// Rewords what Podman says when it cannot open the device: its own words name only the symptom.
pub fn explain(message: &str) -> Option<String> {
    let tun = message.contains(TUN) && message.contains("slirp4netns");
    (tun || message.contains("failed to open() /dev/net/tun")).then(|| {
        Machine { mapper: true, tun: Some("Podman was refused".into()), ..Machine::default() }
            .obstacle()
            .unwrap_or_default()
    })
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An ordinary user's PATH may lack what Podman looks through all the same.
    let usual =
        ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/libexec/podman", "/usr/lib/podman"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).any(|directory| Path::new(&directory).join(program).exists())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn says_what_is_missing_and_what_to_do() {
        let able = Machine { carrier: true, mapper: true, ..Machine::default() };
        assert_eq!(able.obstacle(), None);
        let said = |machine: Machine| machine.obstacle().unwrap();
        assert!(
            said(Machine { tun: Some("denied".into()), ..able.clone() }).contains("(denied); as root: modprobe tun")
        );
        assert!(said(Machine { carrier: false, ..able.clone() }).contains("install slirp4netns"));
        assert!(said(Machine { mapper: false, ..able }).contains("install uidmap"));
        assert_eq!(Machine { root: true, ..Machine::default() }.obstacle(), None);
    }

    #[test]
    fn explains_what_podman_says() {
        let said = r#"/usr/bin/slirp4netns failed: "open(\"/dev/net/tun\"): Permission denied""#;
        assert!(explain(said).unwrap().contains("chmod 666 /dev/net/tun"));
        assert_eq!(explain("no space left on device"), None);
    }
}
