//! Not here yet.

/// Not here yet.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
