//! Names that the storage kinds share between the API server and those who act on them.

/// Holds a claim while a pod uses it.
pub const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Holds a volume while a claim is bound to it.
pub const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
/// A claim's class, as it was given before there was a field for it.
pub const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// On a claim that waited for its first consumer: the host that the scheduler chose for both.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// On the class of claims that name none.
pub const IS_DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
