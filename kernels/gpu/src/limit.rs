//! How fast a method could be on an adapter: its operations, at the rate at which the adapter does
//! them when nothing else is in the way.
//!
//! Read [`Rates::limit`]. Additions, rotations and logic may go to different units or share one;
//! what is certain is what the adapter does of the method's own mixture, and of each kind alone.

use core::time::Duration;

use wgpu::{
    BindGroupDescriptor, BindGroupEntry, BufferDescriptor, BufferUsages, ComputePassDescriptor,
    ComputePipeline, ComputePipelineDescriptor, PipelineCompilationOptions, PollType,
    ShaderModuleDescriptor, ShaderSource,
};

use crate::device::{Device, Lost, OpenError, guarded};
use crate::generated::{DIRECT, PROBE, PROBE_OPERATIONS, ROUNDS, SCHEDULE, SECOND};
use crate::program::bytes;
use crate::shaders::Operations;
use crate::{Adapter, Method};

/// A dispatch of a probe is made longer until it takes so long.
const LONG_ENOUGH: Duration = Duration::from_millis(8);
/// Dispatches of each kind that are timed; the quickest counts.
const TIMES: usize = 5;
/// Turns of a probe's loop.
const TURNS: u32 = 32;
/// Workgroups of the first dispatch, and the most.
const GROUPS: (u32, u32) = (64, 65_535);
/// Invocations of a workgroup.
const INVOCATIONS: u32 = 64;

/// Operations per second on 32-bit words, all of an adapter's lanes together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Additions.
    pub add: f64,
    /// Logic of three words.
    pub logic: f64,
    /// Rotations, three of them with one operation of logic.
    pub rotate: f64,
    /// All kinds, in about the proportions of the search.
    pub mixed: f64,
}

impl Rates {
    /// Measures an adapter by this monotonic clock; a tenth of a second or so.
    ///
    /// # Errors
    /// When it cannot be opened or is lost.
    pub fn measure(adapter: &Adapter, clock: &dyn Fn() -> Duration) -> Result<Self, OpenError> {
        guarded(|| Self::try_measure(adapter, clock))
    }

    fn try_measure(adapter: &Adapter, clock: &dyn Fn() -> Duration) -> Result<Self, OpenError> {
        let device = Device::open(adapter)?;
        let mut rates = [0.0; PROBE_OPERATIONS.len()];
        for (rate, (name, operations)) in rates.iter_mut().zip(PROBE_OPERATIONS) {
            *rate = Probe::new(&device, name).rate(operations, clock)?;
        }
        let [add, logic, rotate, mixed] = rates;
        // A step of the third is three rotations and one operation of logic.
        let rotate = 0.75 * rotate;
        Ok(Self { add, logic, rotate, mixed })
    }

    /// Hashes per second that the adapter cannot exceed by this method, so many versions sharing a
    /// schedule where it shares them.
    #[must_use]
    pub fn limit(&self, method: Method, versions: usize) -> f64 {
        let Operations { add, rotate, shift, logic } = operations(method);
        let shared = match method {
            Method::NonceMajor | Method::Interleaved => 0.0,
            Method::VersionMajor => f64::from(SCHEDULE.total()) / as_f64(versions.max(1)),
        };
        let all = f64::from(add + rotate + shift + logic) + shared;
        let mixed = all / self.mixed;
        let alone = (f64::from(add) / self.add).max(f64::from(logic) / self.logic);
        1.0 / mixed.max(alone)
    }
}

fn operations(method: Method) -> Operations {
    match method {
        Method::NonceMajor | Method::Interleaved => DIRECT.and(SECOND),
        Method::VersionMajor => ROUNDS.and(SECOND),
    }
}

impl Operations {
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            add: self.add + other.add,
            rotate: self.rotate + other.rotate,
            shift: self.shift + other.shift,
            logic: self.logic + other.logic,
        }
    }

    pub(crate) const fn total(self) -> u32 {
        self.add + self.rotate + self.shift + self.logic
    }
}

/// One kind's shader.
struct Probe<'a> {
    device: &'a Device,
    pipeline: ComputePipeline,
    bindings: wgpu::BindGroup,
}

impl<'a> Probe<'a> {
    fn new(device: &'a Device, name: &str) -> Self {
        let source = ShaderSource::Wgsl(PROBE.into());
        let module = ShaderModuleDescriptor { label: Some("probe"), source };
        let module = device.handle.create_shader_module(module);
        let pipeline = device.handle.create_compute_pipeline(&ComputePipelineDescriptor {
            label: Some(name),
            layout: None,
            module: &module,
            entry_point: Some(name),
            compilation_options: PipelineCompilationOptions {
                constants: &[("turns", f64::from(TURNS))],
                ..PipelineCompilationOptions::default()
            },
            cache: None,
        });
        let words = device.handle.create_buffer(&BufferDescriptor {
            label: None,
            size: 64,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        // Any words that are not alike.
        let seed: Vec<u32> = (1..=16_u32).map(|word| word.wrapping_mul(0x9e37_79b9)).collect();
        device.queue.write_buffer(&words, 0, &bytes(&seed));
        let layout = pipeline.get_bind_group_layout(0);
        let entries = [BindGroupEntry { binding: 0, resource: words.as_entire_binding() }];
        let descriptor = BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
        let bindings = device.handle.create_bind_group(&descriptor);
        Self { device, pipeline, bindings }
    }

    /// Operations per second, where one turn of an invocation is so many.
    fn rate(&self, operations: u32, clock: &dyn Fn() -> Duration) -> Result<f64, Lost> {
        // The first dispatch is when drivers compile.
        self.dispatch(1)?;
        let (mut groups, most) = GROUPS;
        let mut took = self.timed(groups, clock)?;
        while took < LONG_ENOUGH && groups < most {
            groups = (groups * 2).min(most);
            took = self.timed(groups, clock)?;
        }
        for _ in 0..TIMES {
            took = took.min(self.timed(groups, clock)?);
        }
        let turns = f64::from(groups) * f64::from(INVOCATIONS) * f64::from(TURNS);
        let seconds = took.as_secs_f64();
        if seconds > 0.0 { Ok(turns * f64::from(operations) / seconds) } else { Ok(f64::INFINITY) }
    }

    fn timed(&self, groups: u32, clock: &dyn Fn() -> Duration) -> Result<Duration, Lost> {
        let begin = clock();
        self.dispatch(groups)?;
        Ok(clock().saturating_sub(begin))
    }

    /// Runs so many workgroups and waits for them.
    fn dispatch(&self, groups: u32) -> Result<(), Lost> {
        let mut encoder = self.device.handle.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &self.bindings, &[]);
            pass.dispatch_workgroups(groups, 1, 1);
        }
        let submission = self.device.queue.submit([encoder.finish()]);
        let wait = PollType::Wait {
            submission_index: Some(submission),
            timeout: Some(Duration::from_secs(30)),
        };
        self.device.handle.poll(wait).map_err(|error| self.device.lose(error.to_string()))?;
        self.device.check()
    }
}

fn as_f64(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_follows_from_operations_and_rates() {
        let even = Rates { add: 2.0e9, logic: 2.0e9, rotate: 1.0e9, mixed: 2.0e9 };
        let per_hash = |method, versions| 2.0e9 / even.limit(method, versions);
        assert!((per_hash(Method::NonceMajor, 1) - 2846.0).abs() < 0.01);
        assert!((per_hash(Method::VersionMajor, 4096) - 2389.1).abs() < 0.1);
        let few = per_hash(Method::VersionMajor, 4);
        assert!((few - (2389.0 + 460.0 / 4.0)).abs() < 0.1, "{few}");
        // Where additions alone take longer than the mixture promises, they are the limit.
        let slow = Rates { add: 1.0e8, ..even };
        assert!(slow.limit(Method::NonceMajor, 1) < 1.0e8 / 1_000.0);
    }
}
