//! How hosts are used: the flags of Kubernetes' kubelet that mean something here, by their names.

use crate::cli::CliError;
use crate::kubelet::settings::{ImageGc, Reserved, Settings, StaticPods, Thresholds};
use clap::{Args, value_parser};
use std::path::PathBuf;

#[derive(Args, Clone)]
#[command(next_help_heading = "How hosts are used")]
pub struct KubeletArgs {
    /// Pods a host takes
    #[arg(long, env = "SELKIE_MAX_PODS", value_name = "N", default_value_t = 110)]
    max_pods: u32,
    /// What of each host is not for pods: cpu, memory, ephemeral-storage, e.g. cpu=500m,memory=1Gi
    #[arg(long, env = "SELKIE_SYSTEM_RESERVED", value_name = "RESOURCE=AMOUNT,...")]
    system_reserved: Option<String>,
    /// With less left than this pods are evicted; those not named keep their default, 0 is never [default:
    /// memory.available<100Mi,imagefs.available<15%,nodefs.available<10%,nodefs.inodesFree<5%]
    #[arg(long, env = "SELKIE_EVICTION_HARD", value_name = "SIGNAL<AMOUNT,...")]
    eviction_hard: Option<String>,
    /// From this use of a host's disk on, in percent, images that nobody uses are removed; 100 is never
    #[arg(long, env = "SELKIE_IMAGE_GC_HIGH_THRESHOLD", value_name = "PERCENT", default_value_t = ImageGc::default().high)]
    image_gc_high_threshold: u8,
    /// Down to which use of the disk they are removed
    #[arg(long, env = "SELKIE_IMAGE_GC_LOW_THRESHOLD", value_name = "PERCENT", default_value_t = ImageGc::default().low)]
    image_gc_low_threshold: u8,
    /// Images a host pulls at a time [default: all that are wanted]
    #[arg(long, env = "SELKIE_MAX_PARALLEL_IMAGE_PULLS", value_name = "N", value_parser = value_parser!(u16).range(1..))]
    max_parallel_image_pulls: Option<u16>,
    /// How many processes and threads a pod may have [default: as many as its host lets it]
    #[arg(long, env = "SELKIE_POD_PIDS_LIMIT", value_name = "N", value_parser = value_parser!(i64).range(1..))]
    pod_pids_limit: Option<i64>,
    /// Directory on the hosts with the seccomp profiles that pods name [default: seccomp in --data-dir]
    #[arg(long, env = "SELKIE_SECCOMP_ROOT", value_name = "DIR")]
    seccomp_root: Option<PathBuf>,
    /// Directory with manifests of static pods: on every host those in it, on host NAME also those in DIR/NAME
    #[arg(long, env = "SELKIE_POD_MANIFEST_PATH", value_name = "DIR")]
    pod_manifest_path: Option<PathBuf>,
}

impl KubeletArgs {
    pub fn set(&self, settings: &mut Settings) -> Result<(), CliError> {
        let wrong = |flag: &str, error: &dyn std::fmt::Display| CliError::new(format!("{flag} {error}")).code(2);
        settings.max_pods = self.max_pods;
        if let Some(text) = &self.system_reserved {
            settings.reserved = text.parse::<Reserved>().map_err(|error| wrong("--system-reserved", &error))?;
        }
        if let Some(text) = &self.eviction_hard {
            settings.eviction = text.parse::<Thresholds>().map_err(|error| wrong("--eviction-hard", &error))?;
        }
        let images = ImageGc::new(self.image_gc_high_threshold, self.image_gc_low_threshold);
        settings.image_gc = images.map_err(|error| CliError::new(error.to_string()).code(2))?;
        settings.parallel_pulls = self.max_parallel_image_pulls.map(usize::from);
        settings.pod_pids_limit = self.pod_pids_limit;
        if let Some(root) = &self.seccomp_root {
            settings.seccomp_root = root.clone();
        }
        if let Some(directory) = &self.pod_manifest_path {
            settings.static_pods = StaticPods::In(directory.clone());
        }
        Ok(())
    }
}
