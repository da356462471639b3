//! The repository's own rules as tests: who may use whom (`layers`), and what every file keeps
//! to (`tidy`). They read the checkout as it lies, tracked files and new ones alike, and
//! deliberately judge nothing that the compiler or clippy already does.

mod layers;
mod sources;
mod tidy;
