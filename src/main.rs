//! Parse, run, exit code.

fn main() -> std::process::ExitCode {
    selkie::cli::main()
}
