//! What a step needs from the machine beyond the compiler, and how it is got where it can be.
//! A new kind of need is a new variant with its own way of being provided. It deliberately asks
//! for no root rights and no password.

use std::process::{Command, Stdio};

use crate::debian::{self, Brings, Package};
use crate::node;
use crate::workspace;

/// A Vulkan adapter in software, and what programs reach it by.
const SOFTWARE_GPU: &[Package] = &[
    Package { name: "libvulkan1", brings: Brings::Library("libvulkan.so.1") },
    Package { name: "mesa-vulkan-drivers", brings: Brings::VulkanDriver("lvp_icd") },
];

/// Something that a step cannot run without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A component of the Rust toolchain whose cargo command has the same name.
    Component(&'static str),
    /// A Bitcoin Core: installed, or built in the user's cache directory.
    Node,
    /// A Debian package, or what it brings from elsewhere.
    Package(Package),
    /// A GPU that every machine can have: Mesa's lavapipe, which computes on the CPU.
    SoftwareGpu,
}

impl Need {
    /// What a person calls it.
    pub(crate) const fn name(&self) -> &'static str {
        match *self {
            Self::Component(name) | Self::Package(Package { name, .. }) => name,
            Self::Node => "Bitcoin Core",
            Self::SoftwareGpu => "software GPU",
        }
    }

    /// Makes sure that it is there, installing it where that is possible.
    ///
    /// # Errors
    /// Says what is missing and why it could not be had.
    pub(crate) fn provide(&self) -> Result<(), String> {
        match *self {
            Self::Component(name) => provide_component(name),
            Self::Package(package) => debian::provide(&[package]),
            Self::Node => node::provide().map(|_| ()).map_err(|failure| failure.to_string()),
            Self::SoftwareGpu => debian::provide(SOFTWARE_GPU),
        }
    }
}

fn provide_component(name: &str) -> Result<(), String> {
    if has_component(name) {
        return Ok(());
    }
    println!("{name} is missing; asking rustup for it");
    match Command::new("rustup").args(["component", "add", name]).status() {
        Ok(status) if status.success() && has_component(name) => Ok(()),
        Ok(status) => Err(format!("{name} is missing and `rustup component add` gave {status}")),
        Err(e) => Err(format!("{name} is missing and rustup cannot be run ({e})")),
    }
}

/// Whether cargo finds the component's command: `cargo fmt`, `cargo clippy`.
fn has_component(name: &str) -> bool {
    let command = if name == "rustfmt" { "fmt" } else { name };
    workspace::cargo()
        .args([command, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
