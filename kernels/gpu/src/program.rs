//! The shaders on a device, with the buffers that all dispatches share.
//!
//! A dispatch covers versions x nonces. What depends on the header and its versions alone is put
//! into place by [`Program::load`], once for all dispatches of a claim.

use std::borrow::Cow;

use kernels::version_inputs;
use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, Buffer, BufferDescriptor, BufferUsages,
    CommandEncoder, ComputePassDescriptor, ComputePassTimestampWrites, ComputePipeline,
    ComputePipelineDescriptor, PipelineCompilationOptions, QuerySet, ShaderModuleDescriptor,
    ShaderSource,
};

use crate::device::Device;
use crate::generated::{
    DIRECT_WORDS, HEADER_WORDS, INTERLEAVED, NONCE_MAJOR, ROW_WORDS, STATE_WORDS, VERSION_MAJOR,
    direct_words,
};
use crate::shaders::{Method, Tile};

/// The most versions of one dispatch.
pub const VERSIONS_MAX: usize = 4096;
/// Workgroups in one dimension that every GPU allows.
const GROUPS_MAX: u32 = 65_535;
/// The most nonces of a dispatch whose invocations have their own schedules, where workgroups are
/// large enough.
const NONCES_MAX: u32 = 1 << 28;
/// The most nonces of one that shares schedules: 8 MiB of them.
const ROWS_MAX: u32 = 1 << 15;
/// Invocations of a workgroup of the shaders that prepare.
const PREPARING: u32 = 64;

/// What is searched in one dispatch: `low` to `high`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) low: u32,
    pub(crate) high: u32,
}

/// One of the shaders, ready to run.
#[derive(Debug)]
pub(crate) struct Program {
    tile: Tile,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Nonces { search: ComputePipeline, words: Buffer },
    Versions(Box<Versions>),
}

#[derive(Debug)]
struct Versions {
    prepare: ComputePipeline,
    schedule: ComputePipeline,
    search: ComputePipeline,
    versions: Buffer,
    header: Buffer,
    states: Buffer,
    preparing: BindGroup,
}

/// What one dispatch under way has of its own for the shaders.
#[derive(Debug)]
pub(crate) struct Bindings {
    search: BindGroup,
    /// Where schedules are shared.
    schedule: Option<BindGroup>,
}

impl Range {
    fn nonces(self) -> u32 {
        // A dispatch has 2^28 nonces at most.
        self.high - self.low + 1
    }
}

impl Program {
    pub(crate) fn new(device: &Device, tile: Tile) -> Self {
        let way = match tile.method {
            Method::NonceMajor | Method::Interleaved => {
                let interleaved = tile.method == Method::Interleaved;
                let module = module(device, if interleaved { INTERLEAVED } else { NONCE_MAJOR });
                let words = storage(device, VERSIONS_MAX * vectors(DIRECT_WORDS) * 16);
                Way::Nonces { search: pipeline(device, &module, "search", Some(tile)), words }
            }
            Method::VersionMajor => Way::Versions(Box::new(Versions::new(device, tile))),
        };
        Self { tile, way }
    }

    /// The most nonces that one dispatch takes.
    pub(crate) const fn nonces_max(&self) -> u32 {
        nonces_max(self.tile)
    }

    /// What a dispatch needs of its own; `task` and `found` are its buffers.
    pub(crate) fn bindings(&self, device: &Device, task: &Buffer, found: &Buffer) -> Bindings {
        match &self.way {
            Way::Nonces { search, words } => Bindings {
                search: group(device, search, &[(0, task), (1, found), (2, words)]),
                schedule: None,
            },
            Way::Versions(way) => {
                // The last workgroup and the last chunk of nonces may run over.
                let rows = usize::try_from(ROWS_MAX + PREPARING + self.tile.nonces);
                let rows = rows.expect("some ten thousand");
                let rows = storage(device, ROW_WORDS * 4 * rows);
                let states = &way.states;
                let search = [(0, task), (1, found), (5, states), (7, &rows)];
                let schedule = [(0, task), (3, &way.header), (6, &rows)];
                Bindings {
                    search: group(device, &way.search, &search),
                    schedule: Some(group(device, &way.schedule, &schedule)),
                }
            }
        }
    }

    /// Puts a header and its versions into place, for the dispatches that are submitted after.
    pub(crate) fn load(&self, device: &Device, header: &[u8; 80], versions: &[u32]) {
        match &self.way {
            Way::Nonces { words, .. } => {
                let size = vectors(DIRECT_WORDS) * 4;
                let mut all = Vec::with_capacity(versions.len() * size);
                for &version in versions {
                    let begin = all.len();
                    all.extend(direct_words(&version_inputs(header, version)));
                    all.resize(begin + size, 0);
                }
                device.queue.write_buffer(words, 0, &bytes(&all));
            }
            Way::Versions(way) => way.load(device, header, versions),
        }
    }

    /// What tells the shader where to begin: the range in whole steps of its own.
    pub(crate) fn first(&self, range: Range) -> u32 {
        match self.tile.method {
            // The nonces of an invocation differ in their low bits alone.
            Method::NonceMajor | Method::Interleaved => range.low - range.low % self.tile.nonces,
            Method::VersionMajor => range.low,
        }
    }

    /// Writes the commands that search the range with so many versions.
    pub(crate) fn encode(
        &self,
        encoder: &mut CommandEncoder,
        bindings: &Bindings,
        versions: u32,
        range: Range,
        timer: Option<&QuerySet>,
    ) {
        let writes = |begins: bool, ends: bool| {
            timer.map(|query_set| ComputePassTimestampWrites {
                query_set,
                beginning_of_pass_write_index: begins.then_some(0),
                end_of_pass_write_index: ends.then_some(1),
            })
        };
        let Tile { workgroup, nonces, .. } = self.tile;
        match &self.way {
            Way::Nonces { search, .. } => {
                let span = range.high - self.first(range) + 1;
                let groups = span.div_ceil(workgroup * nonces);
                pass(encoder, search, &bindings.search, (groups, versions), writes(true, true));
            }
            Way::Versions(way) => {
                let count = range.nonces();
                if let Some(schedule) = &bindings.schedule {
                    let groups = (count.div_ceil(PREPARING), 1);
                    pass(encoder, &way.schedule, schedule, groups, writes(true, false));
                }
                let groups = (versions.div_ceil(workgroup), count.div_ceil(nonces));
                pass(encoder, &way.search, &bindings.search, groups, writes(false, true));
            }
        }
    }
}

/// The most nonces that one dispatch of a tile takes.
const fn nonces_max(tile: Tile) -> u32 {
    match tile.method {
        Method::NonceMajor | Method::Interleaved => {
            // One workgroup less: a range may begin within a step of the shader's own.
            let steps = (GROUPS_MAX - 1).saturating_mul(tile.workgroup);
            let most = steps.saturating_mul(tile.nonces);
            if most < NONCES_MAX { most } else { NONCES_MAX }
        }
        Method::VersionMajor => ROWS_MAX,
    }
}

impl Versions {
    fn new(device: &Device, tile: Tile) -> Self {
        let module = module(device, VERSION_MAJOR);
        let prepare = pipeline(device, &module, "prepare", None);
        // The last workgroup of versions may run over.
        let versions = storage(device, (VERSIONS_MAX + 256) * 4);
        let states = storage(device, (VERSIONS_MAX + 256) * STATE_WORDS * 4);
        let header = device.handle.create_buffer(&BufferDescriptor {
            label: None,
            size: size(vectors(HEADER_WORDS) * 16),
            usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let bound = [(2, &versions), (3, &header), (4, &states)];
        let preparing = group(device, &prepare, &bound);
        Self {
            preparing,
            prepare,
            schedule: pipeline(device, &module, "schedule", None),
            search: pipeline(device, &module, "search", Some(tile)),
            versions,
            header,
            states,
        }
    }

    fn load(&self, device: &Device, header: &[u8; 80], versions: &[u32]) {
        let words = header[4..76].as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word));
        let mut words: Vec<u32> = words.collect();
        words.resize(vectors(HEADER_WORDS) * 4, 0);
        device.queue.write_buffer(&self.header, 0, &bytes(&words));
        let mut filled = versions.to_vec();
        let last = versions.last().copied().unwrap_or(0);
        filled.resize(versions.len().next_multiple_of(256), last);
        device.queue.write_buffer(&self.versions, 0, &bytes(&filled));
        let mut encoder = device.handle.create_command_encoder(&Default::default());
        let groups = u32::try_from(filled.len()).expect("4096 at most").div_ceil(PREPARING);
        pass(&mut encoder, &self.prepare, &self.preparing, (groups, 1), None);
        device.queue.submit([encoder.finish()]);
    }
}

fn pass(
    encoder: &mut CommandEncoder,
    pipeline: &ComputePipeline,
    bindings: &BindGroup,
    (x, y): (u32, u32),
    timestamp_writes: Option<ComputePassTimestampWrites<'_>>,
) {
    debug_assert!(x <= GROUPS_MAX && y <= GROUPS_MAX, "{x} x {y} workgroups");
    let mut pass =
        encoder.begin_compute_pass(&ComputePassDescriptor { label: None, timestamp_writes });
    pass.set_pipeline(pipeline);
    pass.set_bind_group(0, bindings, &[]);
    pass.dispatch_workgroups(x, y, 1);
}

fn module(device: &Device, text: &'static str) -> wgpu::ShaderModule {
    let source = ShaderSource::Wgsl(Cow::Borrowed(text));
    device.handle.create_shader_module(ShaderModuleDescriptor { label: None, source })
}

fn pipeline(
    device: &Device,
    module: &wgpu::ShaderModule,
    entry_point: &str,
    tile: Option<Tile>,
) -> ComputePipeline {
    let tile = tile.unwrap_or(Tile::usual(Method::NonceMajor));
    let sizes = [("workgroup", f64::from(tile.workgroup)), ("nonces", f64::from(tile.nonces))];
    device.handle.create_compute_pipeline(&ComputePipelineDescriptor {
        label: Some(entry_point),
        layout: None,
        module,
        entry_point: Some(entry_point),
        compilation_options: PipelineCompilationOptions {
            constants: &sizes,
            ..PipelineCompilationOptions::default()
        },
        cache: None,
    })
}

fn group(device: &Device, pipeline: &ComputePipeline, buffers: &[(u32, &Buffer)]) -> BindGroup {
    let entries: Vec<BindGroupEntry<'_>> = buffers
        .iter()
        .map(|(binding, buffer)| BindGroupEntry {
            binding: *binding,
            resource: buffer.as_entire_binding(),
        })
        .collect();
    let layout = pipeline.get_bind_group_layout(0);
    let descriptor = BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
    device.handle.create_bind_group(&descriptor)
}

fn storage(device: &Device, bytes: usize) -> Buffer {
    device.handle.create_buffer(&BufferDescriptor {
        label: None,
        size: size(bytes),
        usage: BufferUsages::STORAGE | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// Vectors of four that hold so many words.
const fn vectors(words: usize) -> usize {
    words.div_ceil(4)
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a few megabytes")
}

pub(crate) fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_dispatch_is_one_that_every_gpu_allows() {
        for tile in Tile::ALL {
            let most = nonces_max(tile);
            // A range that does not begin at a step of the shader's own has some before it.
            let (low, before) = (tile.nonces * 3 - 1, tile.nonces - 1);
            let groups = match tile.method {
                Method::NonceMajor | Method::Interleaved => {
                    (before + most).div_ceil(tile.workgroup * tile.nonces)
                }
                Method::VersionMajor => most.div_ceil(tile.nonces),
            };
            assert!(groups <= GROUPS_MAX, "{tile}: {groups} workgroups");
            assert!(low.checked_add(most).is_some() && most >= 1 << 15, "{tile}: {most}");
        }
    }
}
