//! Quantities (`100m`, `1Gi`): parsing, comparing, canonical printing.
