//! What Podman is asked for, field by field.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::kubelet::runtime::{ContainerIdentity, PodIdentity, PortMapping, Protocol};

fn around() -> Surroundings {
    Surroundings {
        cluster: "c1".into(),
        hostname: "h1".into(),
        swap: true,
        may_lower_oom_score: false,
        resource_limits: true,
        pod_limits: true,
    }
}

fn pod() -> PodIdentity {
    PodIdentity { namespace: "shop".into(), name: "web-1".into(), uid: "u1".into() }
}

#[test]
fn a_sandbox() {
    let port =
        PortMapping { host_ip: "0.0.0.0".parse().ok(), host_port: 8080, container_port: 80, protocol: Protocol::Udp };
    let spec = SandboxSpec {
        pod: pod(),
        hostname: "web-1".into(),
        host_aliases: vec![("10.0.0.9".into(), vec!["db".into(), "db.shop".into()])],
        ports: vec![port],
        share_pid: true,
        address: "10.88.0.9".parse().ok(),
        ..SandboxSpec::default()
    };
    let body = sandbox(&spec, &around());
    assert_eq!(body["name"], "selkie_shop_web-1_u1");
    assert_eq!(body["infra_name"], "selkie_shop_web-1_u1-infra");
    assert_eq!(body["shared_namespaces"], json!(["net", "uts", "ipc", "pid"]));
    assert_eq!(body["portmappings"], json!([{"host_port": 8080, "container_port": 80, "protocol": "udp"}]));
    assert_eq!(body["hostadd"], json!(["db:10.0.0.9", "db.shop:10.0.0.9"]));
    assert_eq!(body["Networks"], json!({"podman": {"static_ips": ["10.88.0.9"]}}));
    assert_eq!(body["labels"][labels::CLUSTER], "c1");
    assert_eq!(body["labels"][labels::POD_UID], "u1");
    assert!(body.get("dns_server").is_none(), "the host's own");

    assert!(body.get("resource_limits").is_none());

    let resources = Resources { cpu_shares: Some(256), memory_limit: Some(8), ..Resources::default() };
    let limited = SandboxSpec { resources, ..spec.clone() };
    let limits = json!({"cpu": {"shares": 256}, "memory": {"limit": 8, "swap": 8}});
    assert_eq!(sandbox(&limited, &around())["resource_limits"], limits);
    let few = Resources { pids_limit: Some(64), ..Resources::default() };
    let few = sandbox(&SandboxSpec { resources: few, ..spec.clone() }, &around());
    assert_eq!(few["resource_limits"], json!({"pids": {"limit": 64}}));
    let lone = Surroundings { pod_limits: false, ..around() };
    assert!(sandbox(&limited, &lone).get("resource_limits").is_none(), "they would be of no effect");

    assert!(body.get("pidns").is_none());
    let body = sandbox(&SandboxSpec { host_pid: true, share_pid: false, ..spec.clone() }, &around());
    assert_eq!((&body["pidns"], &body["shared_namespaces"][3]), (&json!({"nsmode": "host"}), &json!("pid")));
    let body = sandbox(&SandboxSpec { host_network: true, host_ipc: true, ..spec }, &around());
    assert_eq!(body["netns"], json!({"nsmode": "host"}));
    assert_eq!(body["hostname"], "h1");
    assert_eq!(body["shared_namespaces"], json!(["net", "uts", "pid"]));
    assert!(body.get("portmappings").is_none() && body.get("Networks").is_none());
}

#[test]
fn who_has_no_sandbox_to_share_is_given_all_of_it() {
    let spec = SandboxSpec {
        pod: pod(),
        hostname: "web-1".into(),
        host_aliases: vec![("10.0.0.9".into(), vec!["db".into()])],
        ports: vec![PortMapping { host_ip: None, host_port: 8080, container_port: 80, protocol: Protocol::Tcp }],
        sysctls: [("kernel.shm_rmid_forced".to_owned(), "1".to_owned())].into(),
        resources: Resources { pids_limit: Some(64), ..Resources::default() },
        lone: true,
        ..SandboxSpec::default()
    };
    let body = sandbox(&spec, &around());
    assert_eq!((&body["no_infra"], &body["labels"][labels::LONE]), (&json!(true), &json!("true")));
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["exit_policy", "labels", "name", "no_infra"], "Podman refuses what it has no container for");

    let of = |spec: ContainerSpec| container("pod-id", &spec, &around());
    let alone = of(ContainerSpec { alone: Some(spec.clone().into()), ..ContainerSpec::default() });
    assert_eq!((&alone["pod"], &alone["labels"][labels::LONE]), (&json!("pod-id"), &json!("true")));
    assert_eq!((&alone["netns"], &alone["hostname"]), (&json!({"nsmode": "bridge"}), &json!("web-1")));
    assert_eq!((&alone["hostadd"], &alone["sysctl"]["kernel.shm_rmid_forced"]), (&json!(["db:10.0.0.9"]), &json!("1")));
    assert_eq!(alone["portmappings"][0]["host_port"], 8080);
    let modes = ["pidns", "utsns", "ipcns"].map(|namespace| alone[namespace]["nsmode"].as_str().unwrap());
    assert_eq!(modes, ["private"; 3]);

    let of_host = SandboxSpec { host_network: true, host_pid: true, ports: Vec::new(), ..spec };
    assert_eq!(sandbox(&of_host, &around())["labels"][HOST_NETWORK], "true");
    let of_host = of(ContainerSpec { alone: Some(of_host.into()), ..ContainerSpec::default() });
    assert_eq!((&of_host["netns"], &of_host["pidns"]), (&json!({"nsmode": "host"}), &json!({"nsmode": "host"})));
    assert_eq!((&of_host["hostname"], &of_host["labels"][HOST_NETWORK]), (&json!("h1"), &json!("true")));
    assert!(of_host.get("portmappings").is_none());
}

#[test]
fn a_container() {
    let identity = ContainerIdentity { pod: pod(), container: "main".into(), restart_count: 2, hash: "h".into() };
    let mount = |source, target: &str, read_only| Mount {
        source,
        target: target.into(),
        read_only,
        propagation: Propagation::Private,
    };
    let spec = ContainerSpec {
        identity,
        image: "abc".into(),
        args: vec!["serve".into()],
        env: vec![("A".into(), "1".into()), ("A".into(), "2".into())],
        stop_signal: Some("SIGINT".into()),
        mounts: vec![
            mount(MountSource::Host("/srv".into()), "/data", true),
            mount(MountSource::Volume("v".into()), "/v", false),
        ],
        resources: Resources {
            cpu_shares: Some(102),
            cpu_quota: Some(50_000),
            memory_limit: Some(1 << 20),
            oom_score_adj: Some(-997),
            ..Resources::default()
        },
        security: SecurityContext {
            run_as_user: Some(1000),
            run_as_group: Some(1001),
            allow_privilege_escalation: Some(false),
            drop_capabilities: vec!["ALL".into()],
            add_capabilities: vec!["net_bind_service".into()],
            ..SecurityContext::default()
        },
        ..ContainerSpec::default()
    };
    let body = container("pod-id", &spec, &around());
    assert_eq!(body["name"], "selkie_shop_web-1_main_u1_2");
    assert_eq!((&body["pod"], &body["env"]), (&json!("pod-id"), &json!({"A": "2"})));
    assert!(body.get("entrypoint").is_none(), "the image's");
    assert_eq!(body["command"], json!(["serve"]));
    assert_eq!((&body["stop_signal"], &body["user"]), (&json!(2), &json!("1000:1001")));
    assert_eq!(
        body["resource_limits"],
        json!({"cpu": {"shares": 102, "quota": 50_000, "period": 100_000}, "memory": {"limit": 1 << 20, "swap": 1 << 20}})
    );
    assert_eq!(body["oom_score_adj"], 0, "it may not be lowered here");
    assert_eq!((&body["cap_drop"], &body["cap_add"]), (&json!(["ALL"]), &json!(["CAP_NET_BIND_SERVICE"])));
    assert_eq!(body["no_new_privileges"], true);
    let bind =
        json!({"destination": "/data", "type": "bind", "source": "/srv", "options": ["ro", "rprivate", "rbind"]});
    assert_eq!(body["mounts"], json!([bind]));
    assert_eq!(body["volumes"], json!([{"Name": "selkie-c1-v", "Dest": "/v", "Options": ["rw", "nocopy"]}]));
    assert_eq!(body["labels"][labels::RESTART_COUNT], "2");

    let bare = container("pod-id", &spec, &Surroundings { resource_limits: false, ..around() });
    assert!(bare.get("resource_limits").is_none(), "rootless on cgroup v1 cannot");
}

#[test]
fn confinement() {
    let of = |security| container("pod-id", &ContainerSpec { security, ..ContainerSpec::default() }, &around());
    let keys = ["apparmor_profile", "selinux_opts", "unmask", "seccomp_profile_path"];
    let plain = of(SecurityContext::default());
    assert!(keys.iter().all(|key| plain.get(key).is_none()), "Podman's own");
    let made = of(SecurityContext {
        app_armor: AppArmor::Localhost("k8s-web".into()),
        se_linux: vec!["type:spc_t".into(), "level:s0:c1,c2".into()],
        seccomp: Seccomp::Localhost("/var/lib/selkie/seccomp/a.json".into()),
        unmasked_proc: true,
        ..SecurityContext::default()
    });
    assert_eq!(
        keys.map(|key| made[key].clone()),
        [
            json!("k8s-web"),
            json!(["type:spc_t", "level:s0:c1,c2"]),
            json!(["ALL"]),
            json!("/var/lib/selkie/seccomp/a.json")
        ]
    );
    let made = of(SecurityContext { app_armor: AppArmor::Unconfined, ..SecurityContext::default() });
    assert_eq!(made["apparmor_profile"], "unconfined");
    let labelled = SandboxSpec { se_linux: vec!["type:spc_t".into()], ..SandboxSpec::default() };
    assert_eq!(sandbox(&labelled, &around())["security_opt"], json!(["label=type:spc_t"]));
}

#[test]
fn resolvers() {
    let dns = DnsSpec { servers: vec!["10.0.0.1".into()], searches: vec![".".into()], options: vec![String::new()] };
    let of_pod = sandbox(&SandboxSpec { dns: dns.clone(), ..SandboxSpec::default() }, &around());
    let own = container("pod-id", &ContainerSpec { dns, ..ContainerSpec::default() }, &around());
    for body in [of_pod, own] {
        assert_eq!(
            (&body["dns_server"], &body["dns_search"], &body["dns_option"]),
            (&json!(["10.0.0.1"]), &json!(["."]), &json!([""]))
        );
    }
}

#[test]
fn other_limits() {
    let limits = |bytes| Resources { memory_limit: Some(bytes), ..Resources::default() };
    let body = |bytes, swap_limited, swap| update(&limits(bytes), swap_limited, &Surroundings { swap, ..around() });
    assert_eq!(body(8, false, false), json!({"memory": {"limit": 8}}));
    assert_eq!(body(8, true, false), json!({"memory": {"limit": 8, "swap": 16}}), "twice as much, as at first");
    assert_eq!(body(8, true, true), json!({"memory": {"limit": 8, "swap": 8}}));
    assert_eq!(body(i64::MAX, true, false)["memory"]["swap"], i64::MAX);
    let unlimited = Resources { cpu_shares: Some(2), ..Resources::default() };
    assert_eq!(update(&unlimited, false, &around()), json!({"cpu": {"shares": 2, "quota": -1}}));
}

#[test]
fn signals_by_name_and_number() {
    for (name, number) in [("SIGTERM", Some(15)), ("kill", Some(9)), ("10", Some(10)), ("SIGNOPE", None), ("0", None)] {
        assert_eq!(signal_number(name), number, "{name}");
    }
}

#[test]
fn named_volumes() {
    let options = |tmpfs, group| {
        let spec = VolumeSpec { name: "data".into(), pod_uid: "u1".into(), tmpfs, group };
        let volume = named_volume(&spec, "c1");
        assert_eq!(volume.labels[VOLUME_NAME], "data");
        volume.options.into_iter().collect::<Vec<_>>()
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(options(None, None), []);
    assert_eq!(options(None, Some(999)), [pair("o", "uid=0,gid=999")], "the first mount leaves its owner alone");
    let mut memory = options(Some(Some(1024)), None);
    memory.sort();
    assert_eq!(memory, [pair("device", "tmpfs"), pair("o", "mode=0777,size=1024"), pair("type", "tmpfs")]);
}
