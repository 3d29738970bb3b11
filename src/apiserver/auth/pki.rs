//! The CA and the serving certificate, made at first start.
