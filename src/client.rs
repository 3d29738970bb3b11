//! `kube::Client` over the in-process server or HTTPS, shared informers, work queues, events.
