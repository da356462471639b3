//! Which GPUs there are, and which of them are to mine.
//!
//! Read [`choose`]. Every adapter that is passed over has its reason in a line.

use core::fmt;

use wgpu::{Backends, DeviceType, DownlevelFlags, InstanceDescriptor};

/// A GPU that wgpu reaches.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// What it is.
    pub info: Info,
    pub(crate) handle: wgpu::Adapter,
}

/// What an adapter says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Its place in the list of all.
    pub index: usize,
    /// Its name, as its driver has it.
    pub name: String,
    /// The driver's name and version.
    pub driver: String,
    /// The interface it is reached by: vulkan, metal, dx12.
    pub api: String,
    /// Where it sits on the PCI bus, as `0000:65:00.0`; `None` where it does not say.
    pub pci: Option<String>,
    /// Whether a CPU does its work.
    pub software: bool,
    /// Whether it is a part of the processor.
    pub integrated: bool,
    /// Whether it can compute at all.
    pub computes: bool,
}

/// Which adapters are to mine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// None.
    Off,
    /// All; those in software only where `software`.
    Auto {
        /// Software adapters take the CPU's time: they are for machines whose CPU does not mine.
        software: bool,
    },
    /// These, each by its number or a part of its name.
    Named(Vec<String>),
}

/// Something was named that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSuch {
    /// There is no adapter at all.
    #[error("{0:?} names no GPU: this machine has none that wgpu reaches")]
    NoneAtAll(String),
    /// None is called that.
    #[error("{name:?} names no GPU; this machine has {have}")]
    NotThis {
        /// The name as given.
        name: String,
        /// Those that are there.
        have: String,
    },
    /// It is there, and of no use.
    #[error("{0} cannot run compute shaders")]
    Useless(Info),
}

/// Those that mine, and a line for each that does not.
#[derive(Debug)]
pub struct Chosen {
    /// To mine with, in the order of the list.
    pub adapters: Vec<Adapter>,
    /// Why the others were passed over.
    pub passed_over: Vec<String>,
}

/// As `gpu:0 NAME (vulkan, DRIVER)`.
impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gpu:{} {} ({}, {})", self.index, self.name, self.api, self.driver)
    }
}

impl Info {
    fn new(index: usize, adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let driver = format!("{} {}", info.driver, info.driver_info);
        let flags = adapter.get_downlevel_capabilities().flags;
        Self {
            index,
            name: info.name,
            driver: driver.trim().to_owned(),
            api: info.backend.to_str().to_owned(),
            pci: Some(info.device_pci_bus_id).filter(|address| !address.is_empty()),
            software: info.device_type == DeviceType::Cpu,
            integrated: info.device_type == DeviceType::IntegratedGpu,
            computes: flags.contains(DownlevelFlags::COMPUTE_SHADERS),
        }
    }
}

/// Which adapters are called this: the one with this number (`gpu:1` or `1`), or where there is no
/// such number those with this in their names, in any case.
fn called(infos: &[&Info], name: &str) -> Vec<bool> {
    let number = name.strip_prefix("gpu:").unwrap_or(name).parse::<usize>();
    let by_number: Vec<bool> = infos.iter().map(|info| number == Ok(info.index)).collect();
    if by_number.contains(&true) {
        return by_number;
    }
    let name = name.to_lowercase();
    infos.iter().map(|info| info.name.to_lowercase().contains(&name)).collect()
}

impl Adapter {
    /// The same GPU as it is found now, after it was lost; `None` where it is there no more.
    #[must_use]
    pub fn found_again(&self) -> Option<Self> {
        let same =
            |other: &Self| Info { index: self.info.index, ..other.info.clone() } == self.info;
        let mut alike: Vec<Self> = all().into_iter().filter(same).collect();
        // Of several that are alike in all, the one in the same place.
        let place = alike.iter().position(|other| other.info.index == self.info.index);
        (!alike.is_empty()).then(|| alike.swap_remove(place.unwrap_or(0)))
    }
}

/// All adapters of this machine; none where there is no driver.
#[must_use]
pub fn all() -> Vec<Adapter> {
    let instance = wgpu::Instance::new(InstanceDescriptor::new_without_display_handle());
    let handles = pollster::block_on(instance.enumerate_adapters(Backends::PRIMARY));
    handles
        .into_iter()
        .enumerate()
        .map(|(index, handle)| Adapter { info: Info::new(index, &handle), handle })
        .collect()
}

/// Those that are wanted, of these.
///
/// # Errors
/// When one is named that is not there, or that cannot compute.
pub fn choose(all: Vec<Adapter>, wanted: &Wanted) -> Result<Chosen, NoSuch> {
    let infos: Vec<&Info> = all.iter().map(|adapter| &adapter.info).collect();
    let verdicts = judge(&infos, wanted)?;
    let mut chosen = Chosen { adapters: Vec::new(), passed_over: Vec::new() };
    for (adapter, verdict) in all.into_iter().zip(verdicts) {
        match verdict {
            None => chosen.adapters.push(adapter),
            Some(why) => chosen.passed_over.push(format!("{}: {why}", adapter.info)),
        }
    }
    Ok(chosen)
}

/// Why each is passed over, if it is.
fn judge(infos: &[&Info], wanted: &Wanted) -> Result<Vec<Option<String>>, NoSuch> {
    let mut named = vec![false; infos.len()];
    if let Wanted::Named(names) = wanted {
        check(infos, names)?;
        for called in names.iter().map(|name| called(infos, name)) {
            named.iter_mut().zip(called).for_each(|(named, called)| *named |= called);
        }
    }
    Ok(infos
        .iter()
        .enumerate()
        .map(|(at, info)| match wanted {
            Wanted::Off => Some("switched off".to_owned()),
            Wanted::Named(_) => (!named[at]).then(|| "not among those named".to_owned()),
            Wanted::Auto { software } => why_not(info, &infos[..at], *software),
        })
        .collect())
}

fn check(infos: &[&Info], names: &[String]) -> Result<(), NoSuch> {
    for name in names {
        let called = called(infos, name);
        let mut called = infos.iter().zip(called).filter(|(_, called)| *called).peekable();
        if called.peek().is_none() {
            if infos.is_empty() {
                return Err(NoSuch::NoneAtAll(name.clone()));
            }
            let have: Vec<String> = infos.iter().map(ToString::to_string).collect();
            return Err(NoSuch::NotThis { name: name.clone(), have: have.join(", ") });
        }
        if let Some((useless, _)) = called.find(|(info, _)| !info.computes) {
            return Err(NoSuch::Useless((*useless).clone()));
        }
    }
    Ok(())
}

/// Why an adapter does not mine where nobody named it; `before` are those ahead of it in the list.
fn why_not(info: &Info, before: &[&Info], software: bool) -> Option<String> {
    if !info.computes {
        return Some("cannot run compute shaders".to_owned());
    }
    if info.software && !software {
        let named = "name it, or give --cpu off, to mine with it";
        return Some(format!("a software adapter would take the CPU's own time; {named}"));
    }
    // One card can be reached by several interfaces.
    let twin = |other: &&&Info| other.pci.is_some() && other.pci == info.pci;
    let twin = before.iter().find(twin)?;
    Some(format!("the same card as gpu:{}", twin.index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(index: usize, name: &str, pci: Option<&str>, software: bool) -> Info {
        let (driver, api) = ("a driver 1".to_owned(), "vulkan".to_owned());
        let (name, pci) = (name.to_owned(), pci.map(str::to_owned));
        Info { index, name, driver, api, pci, software, integrated: false, computes: true }
    }

    fn judged(infos: &[Info], wanted: &Wanted) -> Vec<Option<String>> {
        judge(&infos.iter().collect::<Vec<_>>(), wanted).unwrap()
    }

    #[test]
    fn software_mines_only_where_it_is_meant() {
        let infos = [info(0, "Card", Some("0000:01:00.0"), false), info(1, "llvmpipe", None, true)];
        let auto = judged(&infos, &Wanted::Auto { software: false });
        assert_eq!(auto[0], None);
        assert!(auto[1].as_ref().unwrap().contains("--cpu off"), "{auto:?}");
        assert_eq!(judged(&infos, &Wanted::Auto { software: true }), [None, None]);
        let named = judged(&infos, &Wanted::Named(vec!["LLVM".to_owned()]));
        assert_eq!(named, [Some("not among those named".to_owned()), None]);
        assert_eq!(judged(&infos, &Wanted::Named(vec!["gpu:0".into(), "1".into()])), [None, None]);
        assert!(judged(&infos, &Wanted::Off).iter().all(Option::is_some));
    }

    #[test]
    fn a_number_that_no_adapter_has_is_looked_for_in_names() {
        let infos = [info(0, "RTX 4090", None, false), info(1, "RTX 1080", None, false)];
        let named = |name: &str| {
            let judged = judged(&infos, &Wanted::Named(vec![name.to_owned()]));
            judged.iter().map(Option::is_none).collect::<Vec<_>>()
        };
        assert_eq!(named("4090"), [true, false]);
        assert_eq!(named("1"), [false, true], "a number before a part of a name");
        assert_eq!(named("rtx"), [true, true]);
    }

    #[test]
    fn a_card_that_is_reached_twice_mines_once() {
        let address = Some("0000:01:00.0");
        let infos = [info(0, "Card", address, false), info(1, "Card", address, false)];
        let auto = judged(&infos, &Wanted::Auto { software: false });
        assert_eq!(auto, [None, Some("the same card as gpu:0".to_owned())]);
        let unknown = [info(0, "Card", None, false), info(1, "Card", None, false)];
        assert_eq!(judged(&unknown, &Wanted::Auto { software: false }), [None, None]);
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is() {
        let infos = [info(0, "Card", None, false)];
        let refused = |infos: &[Info], name: &str| {
            let wanted = Wanted::Named(vec![name.to_owned()]);
            judge(&infos.iter().collect::<Vec<_>>(), &wanted).unwrap_err().to_string()
        };
        assert_eq!(
            refused(&[], "0"),
            "\"0\" names no GPU: this machine has none that wgpu reaches"
        );
        let text = refused(&infos, "gpu:1");
        assert!(
            text.contains("gpu:1") && text.contains("gpu:0 Card (vulkan, a driver 1)"),
            "{text}"
        );
        let mut useless = info(0, "Card", None, false);
        useless.computes = false;
        assert!(refused(&[useless.clone()], "card").contains("cannot run compute shaders"));
        assert!(judged(&[useless], &Wanted::Auto { software: true })[0].is_some());
    }
}
