//! Parse, run, exit code.

/// See Cargo.toml for why it is not the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    selkie::cli::main()
}
